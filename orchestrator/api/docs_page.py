"""The page at /docs: the table of routes for people, without anything fetched from elsewhere."""

from html import escape

from orchestrator.api.routing import Media, Route

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid #8884; }
code { font-family: ui-monospace, monospace; font-size: .9em; }
@media (prefers-color-scheme: dark) { body { background: #14171a; color: #dde; } a { color: #9cf; } }
"""


def page(routes: tuple[Route, ...]) -> str:
    """The page as HTML."""
    rows = "\n".join(_row(route) for route in routes)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Transship: REST API</title>
<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>
<body><h1>Transship: REST API</h1>
<p>The full description, with every field, is <a href="/api/v1/openapi.json">openapi.json</a> (OpenAPI 3.1).
Errors are <code>application/problem+json</code> with the field at fault. Long work answers 202 with
<code>Location</code>; follow it there or at <code>/api/v1/events</code>.</p>
<table><thead><tr><th>Request</th><th>What it does</th><th>Body</th><th>Answers</th></tr></thead>
<tbody>
{rows}
</tbody></table></body></html>
"""


def _row(route: Route) -> str:
    answers = ", ".join(f"{status} {_shape(shape)}".strip() for status, shape in route.replies.items())
    problems = ", ".join(str(status) for status in route.problems)
    body = f"<code>{_shape(route.body)}</code>" if route.body else ""
    return (
        f"<tr><td><code>{route.method} {escape(route.path)}</code></td><td>{escape(route.summary)}</td>"
        f"<td>{body}</td><td>{escape(answers)}{'; problems ' + problems if problems else ''}</td></tr>"
    )


def _shape(shape: object) -> str:
    if isinstance(shape, Media):
        return shape.content_type
    if isinstance(shape, tuple):
        return " or ".join(map(_shape, shape))
    if isinstance(shape, list):
        return f"[{shape[0].__name__}]"
    return getattr(shape, "__name__", "")
