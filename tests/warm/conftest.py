from tests.support.locked_project import locked_project

__all__ = ["locked_project"]
