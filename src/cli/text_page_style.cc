#include "cli/text_page_parts.h"

namespace verbatim {

// The scales k (bits) and q (probability) are 17 steps of even lightness in OKLCH, so that they read the same without
// colour vision: light from L 1.0 to 0.68 (hue 95 to 40) and to 0.70 (hue 210 to 265), dark from L 0.20 to 0.53 (hue
// 90 to 35 and 220 to 265), with as much chroma as sRGB has there, at most 0.17. Text on any step has a contrast of
// 4.8 or more.
const std::string_view kTextPageStyle = R"css(
:root {
  color-scheme: light dark;
  --paper: #ffffff; --ink: #161616; --faint: #63635f; --line: #d8d8d4; --panel: #f5f5f2; --accent: #1746b8;
  --m0: #8a8a86; --m1: #4d4d4d; --m2: #1746b8; --m3: #8316a8; --m4: #000000;
  --k0: #ffffff; --k1: #fcf8ee; --k2: #f9f1dd; --k3: #f8eacc; --k4: #f8e2bc; --k5: #f8d9ab;
  --k6: #f8d09a; --k7: #fac78a; --k8: #fbbd7a; --k9: #fcb26a; --k10: #fea75a; --k11: #ff9c4a;
  --k12: #fe913f; --k13: #fd8636; --k14: #f87d38; --k15: #f2753b; --k16: #ec6d3d;
  --q0: #ffffff; --q1: #f1fbfd; --q2: #e4f7fc; --q3: #d6f2fb; --q4: #c9edfb; --q5: #bce8fc;
  --q6: #b0e2fc; --q7: #a4ddfd; --q8: #99d7ff; --q9: #90d0ff; --q10: #89c9fe; --q11: #82c2fe;
  --q12: #7cbbfe; --q13: #77b3fe; --q14: #75abfb; --q15: #76a3f5; --q16: #769cef;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #171717; --ink: #f0f0ee; --faint: #a3a39e; --line: #3a3a38; --panel: #222221; --accent: #8ab4ff;
    --m0: #7d7d79; --m1: #c4c4c0; --m2: #7fb0ff; --m3: #e596ff; --m4: #ffffff;
    --k0: #171717; --k1: #1f1a0e; --k2: #281e0a; --k3: #312104; --k4: #3a2501; --k5: #412902;
    --k6: #4a2c00; --k7: #533002; --k8: #5c3302; --k9: #663500; --k10: #713800; --k11: #7c3a01;
    --k12: #873b01; --k13: #933c02; --k14: #a13a00; --k15: #af3702; --k16: #b93917;
    --q0: #171717; --q1: #0f1d22; --q2: #0c232b; --q3: #082835; --q4: #022e40; --q5: #013349;
    --q6: #003853; --q7: #013d5d; --q8: #014268; --q9: #024773; --q10: #004c81; --q11: #01508f;
    --q12: #01549f; --q13: #1258ac; --q14: #255cb3; --q15: #3361ba; --q16: #4066c2;
  }
}
.k0 { background: var(--k0); } .k1 { background: var(--k1); } .k2 { background: var(--k2); }
.k3 { background: var(--k3); } .k4 { background: var(--k4); } .k5 { background: var(--k5); }
.k6 { background: var(--k6); } .k7 { background: var(--k7); } .k8 { background: var(--k8); }
.k9 { background: var(--k9); } .k10 { background: var(--k10); } .k11 { background: var(--k11); }
.k12 { background: var(--k12); } .k13 { background: var(--k13); } .k14 { background: var(--k14); }
.k15 { background: var(--k15); } .k16 { background: var(--k16); }
.q0 { background: var(--q0); } .q1 { background: var(--q1); } .q2 { background: var(--q2); }
.q3 { background: var(--q3); } .q4 { background: var(--q4); } .q5 { background: var(--q5); }
.q6 { background: var(--q6); } .q7 { background: var(--q7); } .q8 { background: var(--q8); }
.q9 { background: var(--q9); } .q10 { background: var(--q10); } .q11 { background: var(--q11); }
.q12 { background: var(--q12); } .q13 { background: var(--q13); } .q14 { background: var(--q14); }
.q15 { background: var(--q15); } .q16 { background: var(--q16); }

* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; }
header, .bar, main { max-width: 84rem; margin: 0 auto; padding: 0 1.25rem; }
h1 { font-size: 1.35rem; margin: 1rem 0 .6rem; overflow-wrap: anywhere; }
dl { display: flex; flex-wrap: wrap; gap: .5rem 2rem; margin: 0 0 .8rem; }
dt { color: var(--faint); font-size: .8rem; }
dd { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.note { color: var(--faint); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { text-align: start; font-weight: normal; font-size: .8rem; color: var(--faint); }
th, td { padding: .15rem 1.5rem .15rem 0; vertical-align: bottom; }
.histogram { display: inline-flex; align-items: flex-end; gap: .4rem; font-size: .75rem; color: var(--faint);
             white-space: nowrap; }
.histogram svg { border-bottom: 1px solid var(--line); display: block; }
.histogram rect { fill: var(--faint); }
.histogram rect.hit { fill: transparent; }

/* The switches stay in sight. */
.bar { position: sticky; top: 0; z-index: 1; background: var(--paper); border-bottom: 1px solid var(--line);
       padding-top: .5rem; padding-bottom: .5rem; margin-top: .8rem; }
.bar form { display: flex; flex-wrap: wrap; gap: .4rem 1.25rem; align-items: center; }
[hidden] { display: none !important; }
.bar label { display: inline-flex; gap: .35rem; align-items: center; white-space: nowrap; }
.bar select, .bar input { font: inherit; accent-color: var(--accent); }
.bar fieldset { display: flex; flex-wrap: wrap; gap: .4rem .9rem; border: 0; padding: 0; margin: 0; }
.bar fieldset:empty { display: none; }
.legend { display: flex; align-items: center; margin: .4rem 0 0; font-size: .75rem; color: var(--faint); }
.legend span { margin-inline-end: .6rem; }
.legend b { width: 1.6rem; height: 1.15rem; line-height: 1.15rem; text-align: center; font-weight: normal;
            color: var(--ink); }
.legend b:first-of-type { outline: 1px solid var(--line); outline-offset: -1px; }

/* Boundaries: the mark of a level in lists, and behind a character of the text. */
.mark { display: inline-block; height: 1em; margin-inline-end: .5rem; vertical-align: -.12em; }
.mark.e0 { width: 1px; background: var(--m0); }
.mark.e1 { width: 1px; background: var(--m1); }
.mark.e2 { width: 2px; background: var(--m2); }
.mark.e3 { width: 3px; background: var(--m3); }
.mark.e4 { width: 4px; background: var(--m4); }

main { display: grid; grid-template-columns: minmax(0, 1fr) 20rem; gap: 2rem; align-items: start;
       padding-top: 1rem; padding-bottom: 6rem; }
#text { --lanes: 0px; font-size: 18px; line-height: calc(1.6em + var(--lanes)); overflow-wrap: anywhere; tab-size: 4;
        border-radius: 3px; scroll-margin-top: 9rem; }
#text.fixed { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
#text:focus { outline: none; }
#text:focus-visible { outline: 2px solid var(--accent); outline-offset: 6px; }
.block { white-space: pre-wrap; unicode-bidi: plaintext; padding: 0 3px;
         content-visibility: auto; contain-intrinsic-size: auto 40em; }
.block.continues::after { content: " \2026"; color: var(--faint); }
.block b { font-weight: normal; scroll-margin: 9rem 0 4rem; }  /* the switches cover the top */
.block i { font: .68em/1 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; color: var(--faint);
           border: 1px solid var(--m0); border-radius: 3px; padding: 0 .15em; margin: 0 1px; unicode-bidi: isolate; }
#text:not(.live) .z { box-shadow: inset -1px 0 var(--m0); }
#text:not(.live) .e1 { box-shadow: inset -1px 0 var(--m1); }
#text:not(.live) .e2 { box-shadow: inset -2px 0 var(--m2); }
#text:not(.live) .e3 { box-shadow: inset -3px 0 var(--m3); }
#text:not(.live) .e4 { box-shadow: inset -4px 0 var(--m4); }
#text.live .block b { padding-bottom: var(--lanes); }
.block .newline::before { content: "\21B5"; font-size: .75em; opacity: .55; }
.block [data-id]::after { content: attr(data-id); font: .5em/1 system-ui, sans-serif; vertical-align: super;
                          margin: 0 .2em; }
.block .newline[data-id]::before { content: "\21B5  " attr(data-id); }
.block .newline[data-id]::after { content: none; }
.block b.here { outline: 2px solid var(--accent); border-radius: 2px; }

#details { position: sticky; top: 7rem; background: var(--panel); border: 1px solid var(--line); border-radius: 6px;
           padding: .8rem 1rem; font-size: .9rem; max-height: calc(100vh - 8rem); overflow: auto; }
#details .sign { font-size: 2rem; line-height: 1.3; margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
#details p { margin: .2rem 0 .5rem; overflow-wrap: anywhere; }
#details th, #details td { padding-inline-end: .9rem; vertical-align: top; }
#details td:last-child, #details th:last-child { padding-inline-end: 0; }
#details h2 { font-size: .9rem; margin: .8rem 0 .1rem; }
#details .patch { white-space: pre-wrap; background: var(--paper); padding: .1rem .3rem; border-radius: 3px; }
kbd { font: .85em ui-monospace, "DejaVu Sans Mono", monospace; border: 1px solid var(--line); border-radius: 3px;
      padding: 0 .25em; }
@media (max-width: 58rem) {
  main { grid-template-columns: minmax(0, 1fr); padding-bottom: 45vh; }
  #details { position: fixed; inset: auto 0 0 0; top: auto; max-height: 38vh; border-radius: 0; z-index: 2; }
}
)css";

const std::string_view kTextPageControls = R"html(<form id="controls" hidden>
<label>colour <select id="color"></select></label>
<fieldset id="levels" aria-label="boundaries"></fieldset>
<label id="ticks-label" hidden><input type="checkbox" id="ticks" checked> probability below the bytes</label>
<label id="ids-label" hidden><input type="checkbox" id="ids"> ids</label>
<label><input type="checkbox" id="fixed"> fixed width</label>
<label>size <input type="range" id="size" min="12" max="36" value="18" aria-label="font size in pixels"></label>
</form>
)html";

}  // namespace verbatim
