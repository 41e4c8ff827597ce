/** What every page looks like: light and dark, wide and narrow, on paper. */
export const style = `
:root{color-scheme:light dark;--ground:#fff;--text:#1b1f24;--soft:#5d6773;--line:#d8dee4;--good:#1a7f37;--bad:#cf222e;--unsure:#9a6700;--sent:#3b7dd8;--queue:#b35900;--work:#eef2f6}
@media (prefers-color-scheme:dark){:root{--ground:#14171b;--text:#e6e9ed;--soft:#98a2ad;--line:#343b43;--good:#4ac26b;--bad:#ff7b72;--unsure:#d4a72c;--sent:#6ca8f5;--queue:#f0a050;--work:#20262d}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:70rem;padding:1.5rem 1rem 3rem;background:var(--ground);color:var(--text);font:1rem/1.5 system-ui,sans-serif}
h1{margin:0;font-size:1.75rem;line-height:1.2}
h1.good{color:var(--good)}
h1.bad{color:var(--bad)}
h1.unsure{color:var(--unsure)}
h2{margin:2rem 0 .5rem;font-size:1.1rem}
p{margin:.25rem 0}
.soft{color:var(--soft)}
.wide{overflow-x:auto}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:.75rem;margin:1.25rem 0 0}
dt{color:var(--soft);font-size:.85rem}
dd{margin:0;font-size:1.2rem;font-variant-numeric:tabular-nums}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .75rem .3rem 0;border-bottom:1px solid var(--line);text-align:left;vertical-align:top;white-space:nowrap}
td.number,th.number{text-align:right}
`
