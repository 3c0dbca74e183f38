"""How the pages for people look. No script, nothing from elsewhere, light and dark."""

STYLE = """
:root { color-scheme: light dark; --text: #1c2733; --soft: #55636f; --line: #dfe4e9;
  --back: #f7f8fa; --card: #fff; --link: #0b5cad; --mark: #e8f1fb; --warn: #9a3412;
  --keyword: #8250df; --string: #0a6640; --number: #0550ae; --name: #953800; }
@media (prefers-color-scheme: dark) { :root { --text: #dde4ea; --soft: #98a5b1;
  --line: #313b46; --back: #14191f; --card: #1c232b; --link: #7db9f5; --mark: #1d3047;
  --warn: #fdba74; --keyword: #d2a8ff; --string: #7ee0a5; --number: #79c0ff;
  --name: #ffa657; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text);
  font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif;
  overflow-wrap: break-word; }
a { color: var(--link); text-decoration: none; } a:hover { text-decoration: underline; }
a:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
header.top { background: var(--card); border-bottom: 1px solid var(--line); }
header.top div, main, footer { max-width: 68rem; margin: 0 auto; padding: 0 1.25rem; }
header.top div { padding-top: .7rem; padding-bottom: .7rem; font-weight: 600; }
header.top a { color: var(--text); }
main { padding-top: 2rem; padding-bottom: 2rem; }
footer { color: var(--soft); font-size: .85rem; padding-bottom: 2.5rem; }
h1, h2, h3, h4 { line-height: 1.25; }
main > h1 { font-size: 2rem; margin: 0; }
main > h1 .version { color: var(--soft); font-weight: 400; margin-left: .2em; }
.lead { color: var(--soft); font-size: 1.1rem; margin: .35rem 0 1.25rem; }
pre, code, kbd, tt, .docutils.literal { font-family: ui-monospace, SFMono-Regular, Menlo,
  Consolas, "Liberation Mono", monospace; font-size: .875em; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: .75rem 1rem; overflow-x: auto; line-height: 1.5; }
pre code { font-size: 1em; background: none; padding: 0; }
pre.plain { white-space: pre-wrap; }
:not(pre) > code, .docutils.literal { background: var(--mark); border-radius: 4px;
  padding: .1em .35em; }
.columns { display: grid; grid-template-columns: minmax(0, 1fr) 17rem; gap: 2rem;
  align-items: start; margin-top: 1.5rem; }
.columns > * { min-width: 0; }
@media (max-width: 52rem) { .columns { grid-template-columns: minmax(0, 1fr); }
  .columns > aside { order: -1; } }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 1.25rem 1.5rem; }
.facts.card { font-size: .9rem; padding: .5rem 1.25rem 1rem; }
.facts h2 { font-size: .78rem; letter-spacing: .05em; text-transform: uppercase;
  color: var(--soft); margin: 1.1rem 0 .25rem; }
.facts ul { list-style: none; margin: 0; padding: 0; }
.readme > :first-child, .readme > section:first-child > :first-child { margin-top: 0; }
.readme h1 { font-size: 1.6rem; } .readme h2 { font-size: 1.3rem; }
.readme h1, .readme h2 { border-bottom: 1px solid var(--line); padding-bottom: .3rem; }
.readme h3 { font-size: 1.1rem; } .readme pre { background: var(--back); }
.readme pre.plain { background: none; border: 0; padding: 0; }
.readme blockquote { margin: 1rem 0; padding: 0 1rem; color: var(--soft);
  border-left: .25rem solid var(--line); }
.readme table { border-collapse: collapse; display: block; overflow-x: auto; }
.readme th, .readme td { border: 1px solid var(--line); padding: .3rem .75rem; }
.readme li > p, .readme td > p, .readme th > p { margin: .2rem 0; }
.readme aside, .readme .alert { border-left: .25rem solid var(--link); padding: .1rem 1rem;
  background: var(--back); margin: 1rem 0; } .readme .admonition-title { font-weight: 600; }
.readme aside aside { border: 0; padding: 0; margin: 0; } .readme aside p { margin: .4rem 0; }
.readme > :last-child { margin-bottom: 0; }
.picture { display: inline-block; font-size: .78rem; line-height: 1.5; padding: 0 .55rem;
  background: var(--mark); border-radius: 1rem; }
.muted { color: var(--soft); }
h2.files { margin: 2.25rem 0 .75rem; font-size: 1.3rem; }
details.release { background: var(--card); border: 1px solid var(--line); margin-top: -1px; }
details.release:first-of-type { border-radius: 10px 10px 0 0; }
details.release:last-of-type { border-radius: 0 0 10px 10px; }
details.release:only-of-type { border-radius: 10px; }
details.release > summary { cursor: pointer; padding: .6rem 1.25rem; }
summary strong { margin-right: .6rem; }
.files td { padding: .4rem 1.25rem; border-top: 1px solid var(--line);
  vertical-align: top; } table.files { width: 100%; border-collapse: collapse;
  font-size: .92rem; } .files td + td { width: 8.5rem; white-space: nowrap; color: var(--soft);
  text-align: right; } .files td:first-child { overflow-wrap: anywhere; }
@media (max-width: 40rem) { .files td:first-child { display: block; }
  .files td + td { display: inline-block; width: auto; border: 0; padding-top: 0; } }
.hash { display: block; font-size: .75rem; color: var(--soft); overflow-wrap: anywhere; }
.badge { color: var(--warn); border: 1px solid currentColor; border-radius: .7rem;
  display: inline-block; font-size: .75rem; line-height: 1.5; padding: .05rem .5rem;
  margin-left: .4rem; white-space: normal; overflow-wrap: anywhere; }
ul.projects { list-style: none; margin: 1rem 0 0; padding: 0; display: grid; gap: .75rem;
  grid-template-columns: repeat(auto-fill, minmax(18rem, 1fr)); }
ul.projects a { display: block; height: 100%; padding: .8rem 1rem; color: inherit;
  background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
ul.projects a:hover { border-color: var(--link); text-decoration: none; }
ul.projects strong { color: var(--link); }
ul.projects span { color: var(--soft); font-size: .9rem; } ul.projects p { margin: .2rem 0 0;
  font-size: .9rem; color: var(--soft); display: -webkit-box; overflow: hidden;
  -webkit-line-clamp: 2; -webkit-box-orient: vertical; }
.k, .kn, .kd, .kr, .kc, .kt, .ow { color: var(--keyword); }
.s, .s1, .s2, .sd, .sb, .se, .si, .sa { color: var(--string); }
.mi, .mf, .mh, .m, .nb, .bp { color: var(--number); } .nf, .nc, .nd, .nt, .na
{ color: var(--name); } .c, .c1, .cm, .ch, .gp, .go { color: var(--soft); }
"""
