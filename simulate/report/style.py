"""The page's style sheet."""

__all__ = ["STYLE_SHEET"]

STYLE_SHEET = """
:root { --ink: #1d2330; --soft: #5b6472; --line: #d9dee6; --page: #ffffff; --panel: #f6f8fa;
  --good: #0b6e4f; --bad: #b3261e; --accent: #20639b; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.2rem 1rem 4rem; color: var(--ink); background: var(--page);
  font: 16px/1.55 Georgia, "Times New Roman", serif; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .4rem 0 .6rem; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .4rem; padding-top: .9rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
a { color: var(--accent); }
code, pre { font: .85em/1.45 ui-monospace, Menlo, Consolas, monospace; }
pre { background: var(--panel); border: 1px solid var(--line); border-radius: 6px; padding: .6rem .8rem;
  overflow-x: auto; white-space: pre-wrap; }
.lead { font-size: 1.05rem; }
.soft { color: var(--soft); }
.good { color: var(--good); font-weight: bold; }
.bad { color: var(--bad); font-weight: bold; }
.scroll { overflow-x: auto; margin: .6rem 0; -webkit-overflow-scrolling: touch; }
table { border-collapse: collapse; font-size: .85rem; line-height: 1.35; width: 100%; }
th, td { text-align: left; padding: .38rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { border-bottom: 2px solid var(--ink); font-weight: bold; white-space: nowrap; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.group td { background: var(--panel); font-weight: bold; }
td.statement { min-width: 16rem; }
td small { color: var(--soft); display: block; }
figure { margin: 1rem 0; }
figure img { width: 100%; height: auto; border: 1px solid var(--line); border-radius: 6px; background: #fff; }
figcaption { font-size: .88rem; color: var(--soft); margin-top: .3rem; }
details { margin: .5rem 0; }
summary { cursor: pointer; color: var(--accent); font-size: .92rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; font-size: .92rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 40rem) { body { font-size: 15px; padding: .8rem .8rem 3rem; } h1 { font-size: 1.4rem; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .4rem; } }
@media print { body { max-width: none; } details { display: none; } h2, figure { break-inside: avoid; } }
"""
