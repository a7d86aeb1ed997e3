"""Tool environments: classes whose public methods are tools, and one episode's worth of them."""
