/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * style: the stylesheet that every page contains. The content security policy allows it by its
 * hash.
 */
#ifndef PORTAL_STYLE_H
#define PORTAL_STYLE_H

/* clang-format off */
#define PORTAL_STYLE \
	":root{color-scheme:light dark;--back:#f6f7f9;--card:#fff;--text:#1b1f26;--soft:#596273;" \
	"--line:#dde1e8;--edge:#818a99;--main:#1f5fd6;--on-main:#fff;--good:#17693f;--good-back:#e0f4e8;" \
	"--warn:#7a4a00;--warn-back:#fff2d6;--bad:#a3211b;--bad-back:#fde6e4;--track:#e7eaf0}" \
	"@media(prefers-color-scheme:dark){:root{--back:#12151a;--card:#1b2027;--text:#e7eaf0;" \
	"--soft:#a0a9b8;--line:#313945;--edge:#758094;--main:#7aa7ff;--on-main:#0d1830;--good:#86dcab;" \
	"--good-back:#143524;--warn:#ffcf80;--warn-back:#3a2b0c;--bad:#ff9d97;--bad-back:#421a18;" \
	"--track:#2b323d}}" \
	"*{box-sizing:border-box}" \
	"body{margin:0;background:var(--back);color:var(--text);" \
	"font:16px/1.55 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}" \
	"header,main{max-width:62rem;margin:0 auto;padding:0 1.25rem}" \
	"header{display:flex;flex-wrap:wrap;gap:.25rem 1.5rem;align-items:baseline;padding-top:1.25rem}" \
	"header b{margin-right:auto;overflow-wrap:anywhere}header a{text-decoration:none}" \
	"main{padding-bottom:4rem}" \
	"footer{max-width:62rem;margin:0 auto;padding:0 1.25rem 2rem;display:flex;flex-wrap:wrap;gap:.25rem 1.5rem;" \
	"font-size:.875rem}footer a{color:var(--soft)}" \
	"a{color:var(--main)}h1{font-size:1.9rem;line-height:1.2;margin:2rem 0 .75rem}" \
	"h2{font-size:1.15rem;margin:0 0 .5rem}p{margin:.5rem 0}" \
	".soft{color:var(--soft)}.small{font-size:.875rem}" \
	".grid{display:grid;gap:1rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,17rem),1fr))}" \
	".card{background:var(--card);border:1px solid var(--line);border-radius:.75rem;padding:1.25rem;" \
	"margin:1rem 0}.grid .card{margin:0;display:flex;flex-direction:column}" \
	".card ul{padding-left:1.2rem;margin:.5rem 0 1rem}.push{margin-top:auto}" \
	".amount{font-size:1.75rem;font-weight:650;line-height:1.2}" \
	"button,.button{font:inherit;font-weight:600;display:inline-block;cursor:pointer;padding:.55rem 1.1rem;" \
	"border-radius:.5rem;border:1px solid var(--main);background:var(--main);color:var(--on-main);" \
	"text-decoration:none}" \
	"button.plain,.button.plain{background:transparent;color:var(--main);border-color:var(--line);padding:.3rem .7rem}" \
	"button.danger{background:transparent;color:var(--bad);border-color:var(--bad);padding:.3rem .7rem}" \
	"button:focus-visible,a:focus-visible,input:focus-visible,summary:focus-visible{" \
	"outline:3px solid var(--main);outline-offset:2px}" \
	"label{display:block;font-weight:600;margin:.75rem 0 .25rem}" \
	"input{font:inherit;width:100%;max-width:32rem;padding:.5rem .7rem;border:1px solid var(--edge);" \
	"border-radius:.5rem;background:var(--back);color:inherit}" \
	"input::placeholder{color:var(--soft);opacity:1}" \
	".wide button{width:100%}.wide input{margin-bottom:.75rem}.push .amount{margin-top:1rem}" \
	"form{margin:.5rem 0}.check{font-weight:400}" \
	"input[type=checkbox]{width:1.1rem;height:1.1rem;min-height:0;vertical-align:-.15rem;margin-right:.4rem}" \
	".row{display:flex;flex-wrap:wrap;gap:.5rem;align-items:center}.row input{width:16rem}.row form{margin:0}" \
	".note{border-radius:.5rem;padding:.75rem 1rem;margin:1rem 0;background:var(--warn-back);color:var(--warn)}" \
	".note.bad{background:var(--bad-back);color:var(--bad)}" \
	".note.good{background:var(--good-back);color:var(--good)}.note a{color:inherit}" \
	".badge{font-size:.8rem;font-weight:600;border-radius:1rem;padding:.1rem .6rem;background:var(--track);" \
	"color:var(--text);vertical-align:middle;white-space:nowrap}" \
	".badge.good{background:var(--good-back);color:var(--good)}" \
	".badge.warn{background:var(--warn-back);color:var(--warn)}" \
	".badge.bad{background:var(--bad-back);color:var(--bad)}" \
	"code,.key{font-family:ui-monospace,'Liberation Mono','DejaVu Sans Mono',monospace}" \
	".key{display:block;padding:.9rem 1rem;margin:1rem 0;border:1px dashed var(--line);border-radius:.5rem;" \
	"background:var(--back);overflow-wrap:anywhere;user-select:all}" \
	"table{width:100%;border-collapse:collapse}th,td{text-align:left;padding:.55rem .5rem .55rem 0;" \
	"border-top:1px solid var(--line);vertical-align:top}thead th{border:0;font-size:.8rem;color:var(--soft)}" \
	"tr.over td{color:var(--soft)}td form{margin:0}td:last-child>*{margin-bottom:.3rem}" \
	"dl{display:grid;grid-template-columns:auto 1fr;gap:.35rem 1.25rem;margin:.5rem 0}dt{color:var(--soft)}" \
	"dd{margin:0}svg{display:block;width:100%;height:auto}" \
	".bar{fill:var(--main)}.track{fill:var(--track)}.full{fill:var(--bad)}" \
	".ends{display:flex;justify-content:space-between}summary{cursor:pointer;color:var(--soft)}" \
	"@media(max-width:40rem){button,.button,button.plain,button.danger,input,header a,footer a{min-height:44px}summary{padding:.6rem 0}" \
	"header a,footer a{display:inline-flex;align-items:center}h1{font-size:1.5rem}thead{display:none}tr{display:block;padding:.6rem 0;" \
	"border-top:1px solid var(--line)}td{display:block;border:0;padding:.1rem 0}" \
	"td[data-name]::before{content:attr(data-name) ' ';color:var(--soft)}dl{grid-template-columns:1fr;gap:0}" \
	"dd{margin-bottom:.5rem}}"
/* clang-format on */

#endif
