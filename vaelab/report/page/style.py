"""The page's one style sheet; both palettes are read by the test of their contrast."""

LIGHT = {
    "paper": "#ffffff",
    "raised": "#f5f6f8",
    "ink": "#1b1d21",
    "quiet": "#565c66",
    "rule": "#d5d8de",
    "approximation": "#2f6aa8",
    "amortization": "#b9501a",
    "alarm": "#a3172b",
}
DARK = {
    "paper": "#14161a",
    "raised": "#1d2026",
    "ink": "#e9eaec",
    "quiet": "#a7adb7",
    "rule": "#3a3f48",
    "approximation": "#7fb2e8",
    "amortization": "#f0995e",
    "alarm": "#ff8d98",
}


def _variables(palette: dict[str, str]) -> str:
    return "".join(f"--{name}:{colour};" for name, colour in palette.items())


SHADES = 9  # of a heat map: a page's policy allows no style of a single element


def _shades() -> str:
    return "\n".join(
        f".shade-{n} {{ fill-opacity: {0.06 + 0.6 * n / (SHADES - 1):.3f}; }}" for n in range(SHADES)
    )


STYLE = f"""
:root {{ color-scheme: light dark; {_variables(LIGHT)} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_variables(DARK)} }} }}
* {{ box-sizing: border-box; }}
html {{ -webkit-text-size-adjust: 100%; }}
body {{
  margin: 0 auto; padding: 2.5rem 1.25rem 5rem; max-width: 66rem;
  background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  overflow-wrap: break-word;
}}
h1, h2, h3 {{ line-height: 1.2; text-wrap: balance; }}
h1 {{ font-size: clamp(1.7rem, 5vw, 2.4rem); margin: 0 0 1rem; letter-spacing: -0.015em; }}
h2 {{ font-size: 1.4rem; margin: 0 0 .75rem; padding-top: 2rem; border-top: 1px solid var(--rule); }}
h3 {{ font-size: 1.05rem; margin: 2rem 0 .5rem; }}
p, dl, ul, ol {{ max-width: 44rem; }}
p {{ margin: 0 0 1rem; }}
ol {{ margin: 0 0 1rem; padding-left: 1.5rem; }}
ol li, li > ul {{ margin: .2rem 0; }}
main ul {{ padding-left: 1.25rem; }}
section {{ margin-top: 3rem; }}
a {{ color: var(--approximation); text-underline-offset: .2em; }}
code, pre {{ font: .875em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }}
pre {{
  white-space: pre-wrap; overflow-wrap: anywhere; padding: .8rem 1rem; background: var(--raised);
  border-radius: 6px;
}}
sub {{ line-height: 0; }}
.over {{ color: var(--quiet); font-size: .875rem; margin: 0 0 .35rem; }}
.lead {{ font-size: 1.15rem; }}
.quiet {{ color: var(--quiet); font-size: .9rem; }}
.formula {{ font-size: 1.1rem; white-space: nowrap; overflow-x: auto; }}
nav ul {{
  display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; max-width: none; margin: 1.5rem 0 0; padding: 0;
  list-style: none;
}}
.notes {{
  border-left: 4px solid var(--alarm); background: var(--raised); padding: 1rem 1.25rem;
  margin: 0 0 1.5rem;
}}
.notes h2 {{ font-size: 1.05rem; border: 0; padding: 0; margin: 0 0 .5rem; }}
.notes ul {{ margin: 0; padding-left: 1.1rem; }}
thead button {{
  font: inherit; font-weight: 600; text-align: inherit; color: inherit; background: none; border: 0;
  padding: 0; cursor: pointer; text-decoration: underline dotted; text-underline-offset: .2em;
}}
[aria-sort=ascending] button::after {{ content: " ↑"; }}
[aria-sort=descending] button::after {{ content: " ↓"; }}
input {{
  font: inherit; color: inherit; background: var(--raised); border: 1px solid var(--quiet);
  border-radius: 6px; padding: .3rem .6rem; max-width: 100%;
}}
dl {{
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(17rem, 100%), 1fr));
  gap: 1rem 2rem; max-width: none; margin: 0 0 1rem;
}}
dt {{ font-weight: 600; }}
dd {{ margin: 0; }}
tspan {{ white-space: pre; }}
details {{ margin: 1rem 0; }}
summary {{ cursor: pointer; padding: .35rem 0; }}
figure {{ margin: .75rem 0 0; min-width: 0; }}
figcaption {{ color: var(--quiet); font-size: .875rem; }}
.panels h3 {{ margin-top: .5rem; }}
.panels {{ display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: .5rem 2.5rem; }}
.squares {{
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(18rem, 100%), 25rem));
  gap: .5rem 2.5rem;
}}
.legend, main .legend {{
  display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; margin: 1rem 0 0; padding: 0;
  list-style: none; font-size: .9rem;
}}
.legend li {{ display: flex; align-items: baseline; gap: .6rem; }}
.legend svg {{ flex: none; width: 26px; height: 14px; overflow: visible; }}
.scroll {{ overflow-x: auto; margin: 1.25rem 0; }}
.scroll:focus-visible, a:focus-visible, summary:focus-visible {{
  outline: 2px solid var(--approximation); outline-offset: 2px;
}}
table {{
  border-collapse: separate; border-spacing: 0; font-size: .9rem; font-variant-numeric: tabular-nums;
}}
caption {{ text-align: left; color: var(--quiet); font-size: .875rem; padding-bottom: .4rem; }}
caption span {{
  display: block; position: sticky; left: 0; width: max-content;
  max-width: min(44rem, 100vw - 2rem);
}}
th, td {{
  padding: .4rem .9rem .4rem 0; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--rule);
}}
thead th {{ vertical-align: bottom; font-weight: 600; white-space: normal; min-width: 5.5rem; }}
th:first-child, .words {{ text-align: left; }}
tbody th {{ font-weight: 500; position: sticky; left: 0; background: var(--paper); }}
td.words {{ white-space: normal; }}
td.words:not(:has(img)) {{ min-width: 6rem; }}
td.words.about {{ min-width: 11rem; }}
body:has(.sorts) {{ max-width: 84rem; }}
.sorts td.words:not(.about), .sorts thead th {{ min-width: 0; }}
.settings td {{ white-space: normal; overflow-wrap: anywhere; min-width: 8rem; }}
img {{ display: block; image-rendering: pixelated; border: 1px solid var(--quiet); }}
.strip {{
  display: grid; grid-template-columns: 12rem minmax(0, 1fr); gap: 0 1rem; align-items: center;
  margin: .35rem 0; font-size: .875rem;
}}
.strip img {{
  max-width: 100%; height: auto; border: 2px solid var(--quiet); background: var(--quiet);
}}
.plot {{ display: block; overflow: hidden; fill: var(--ink); font-size: 13px; }}
.gutter {{ padding-left: 3rem; overflow: visible; }}
.square {{ width: 100%; max-width: 25rem; }}
.tick {{ fill: var(--quiet); font-size: 12px; font-variant-numeric: tabular-nums; }}
.mark {{ font-size: 12px; }}
.plot text {{ stroke: var(--paper); stroke-width: 3px; paint-order: stroke; stroke-linejoin: round; }}
.grid {{ stroke: var(--rule); }}
.zero {{ stroke: var(--quiet); }}
.median {{ stroke: var(--ink); stroke-dasharray: 4 3; }}
.whisker {{ stroke: var(--ink); stroke-width: 1.5; }}
.approximation {{ fill: var(--approximation); }}
.amortization {{
  fill: var(--amortization); fill-opacity: .35; stroke: var(--amortization); stroke-width: 1.5;
}}
.unused {{ fill: var(--quiet); fill-opacity: .45; }}
.negative {{ fill: var(--paper); fill-opacity: .8; stroke-width: 2; stroke-dasharray: 3 2; }}
.approximation.negative {{ stroke: var(--approximation); }}
.amortization.negative {{ stroke: var(--amortization); }}
.curve {{ fill: none; stroke-width: 2; vector-effect: non-scaling-stroke; stroke-linejoin: round; }}
.curve.amortization {{ fill: none; stroke: var(--amortization); }}
.curve.approximation {{ fill: none; stroke: var(--approximation); }}
circle.amortization {{ fill-opacity: 1; }}
.heat {{ stroke: none; }}
{_shades()}
.curve.training {{ stroke: var(--approximation); }}
.curve.validation {{ stroke: var(--amortization); stroke-dasharray: 6 4; }}
circle.validation {{ fill: var(--amortization); }}
.amortized {{ fill: none; stroke: var(--amortization); stroke-width: 1.5; }}
.first, .optimal {{ fill: var(--approximation); }}
.second {{ fill: none; stroke: var(--ink); stroke-width: 1.5; }}
.move {{ stroke: var(--quiet); stroke-opacity: .6; }}
@media (max-width: 40rem) {{
  body {{ padding: 1.5rem 1rem 3rem; }}
  .lead {{ font-size: 1.05rem; }}
  .panels {{ grid-template-columns: 100%; }}
  th, td {{ padding-right: .6rem; }}
  tbody th {{ white-space: normal; max-width: 50vw; }}
  th:first-child {{ min-width: 0; }}
  .strip {{ grid-template-columns: 100%; }}
  thead th.words {{ min-width: 0; }}
  .cards {{ overflow-x: visible; }}
  .cards table, .cards caption, .cards tbody, .cards caption span {{
    display: block; position: static; width: auto; max-width: none;
  }}
  .cards thead {{ position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }}
  .cards.sorts thead {{ position: static; width: auto; height: auto; clip-path: none; display: block; }}
  .sorts thead tr {{ display: flex; flex-wrap: wrap; gap: .25rem 1rem; }}
  .sorts thead th {{ min-width: 0; padding: 0; border: 0; }}
  .cards tbody tr {{
    display: grid; grid-template-columns: repeat(auto-fill, minmax(8.2rem, 1fr)); gap: .35rem .8rem;
    padding: .6rem 0; border-bottom: 1px solid var(--rule);
  }}
  .cards.short tbody tr {{ grid-template-columns: repeat(auto-fill, minmax(4.6rem, 1fr)); }}
  .cards tbody tr[hidden] {{ display: none; }}
  .cards tbody tr:has(img) {{ grid-template-columns: repeat(3, minmax(0, 1fr)); }}
  .cards tbody th, .cards tbody td {{ display: block; padding: 0; border: 0; text-align: left; }}
  .cards tbody th {{ grid-column: 1 / -1; max-width: none; position: static; font-weight: 600; }}
  .cards td[data-of]::before {{
    content: attr(data-of); display: block; color: var(--quiet); font-size: .8rem; white-space: normal;
  }}
  .cards td:empty {{ display: none; }}
  .cards td.words:not(:has(img)) {{ grid-column: 1 / -1; }}
  .cards.sorts td.words:not(.about) {{ grid-column: auto; }}
  .cards th[data-of]::before {{
    content: attr(data-of); color: var(--quiet); font-size: .8rem; font-weight: 400; margin-right: .5em;
  }}
  .cards td.words[data-of]:not(:has(img))::before {{ display: inline; margin-right: .5em; }}
}}
@media print {{ .scroll {{ overflow: visible; }} details {{ break-inside: avoid; }} }}
"""
