"""`nox` runs the tests with every Python that is at hand; `nox -s whole` what must pass before a change lands."""

import nox

nox.options.sessions = ["unit"]
nox.options.error_on_missing_interpreters = False


@nox.session(python=["3.10", "3.11", "3.12", "3.13", "3.14"])
def unit(session: nox.Session) -> None:
    """The tests between edits."""
    session.install("-e", ".[test]")
    session.run("pytest", "-m", "not browser and not notebook and not ray", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The site, strictly."""
    session.install("-e", ".[docs]")
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html")


@nox.session(venv_backend="none")
def whole(session: nox.Session) -> None:
    """All that must pass before a change lands."""
    session.run(".ci/run", external=True)
