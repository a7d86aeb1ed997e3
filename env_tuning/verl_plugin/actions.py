"""The actions of a response: its runs of trained tokens, one for every assistant message.

Owns: where actions begin and end, and sums over them. Refuses: what is computed with them (`action_advantages`,
`joint_ratio_loss`). Between two assistant messages the agent loop always writes tokens of the next user message, so a
run of ones in the response mask is one message. Rejection sampling by verl may mask tokens inside a message, which
then counts as two.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class Actions:
    """The actions of a batch of responses.

    Attributes:
        mask: (rows, tokens) bool, the trained tokens.
        first: (rows, tokens) bool, the first token of every action.
        last: (rows, tokens) bool, the last token of every action.
        index: (rows, tokens) int64, the action of a token, from 0 in every row; on other tokens `longest`.
        longest: the most actions of a row.
    """

    mask: torch.Tensor
    first: torch.Tensor
    last: torch.Tensor
    index: torch.Tensor
    longest: int

    @classmethod
    def of(cls, response_mask: torch.Tensor) -> Actions:
        """The actions of a response mask of shape (rows, tokens), which is not zero on trained tokens."""
        mask = response_mask.bool()
        outside = torch.zeros_like(mask[:, :1])
        first = mask & ~torch.cat([outside, mask[:, :-1]], dim=1)
        last = mask & ~torch.cat([mask[:, 1:], outside], dim=1)
        count = first.sum(dim=1)
        longest = int(count.max()) if count.numel() else 0
        index = torch.where(mask, first.cumsum(dim=1) - 1, longest)
        return cls(mask=mask, first=first, last=last, index=index, longest=longest)

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """Sums over the tokens of every action: (rows, tokens) to (rows, `longest`); 0 where a row has fewer."""
        # What stands on other tokens is not looked at: a model's padding may hold NaN.
        kept = torch.where(self.mask, values, torch.zeros_like(values))
        sums = kept.new_zeros(len(kept), self.longest + 1).scatter_add(1, self.index, kept)
        return sums[:, : self.longest]

    def spread(self, per_action: torch.Tensor) -> torch.Tensor:
        """One number of every action on all of its tokens: (rows, `longest`) to (rows, tokens); 0 on other tokens."""
        return (
            torch.cat([per_action, per_action.new_zeros(len(per_action), 1)], dim=1).gather(1, self.index) * self.mask
        )
