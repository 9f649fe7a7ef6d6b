"""Features over HTTP for callers in any language: `fs serve`.

`settings` and `tokens` say who may ask and how much, `body` reads requests, `answer` writes answers, `problems` errors;
`endpoints` has what each path does, and `app` puts them together.
"""
