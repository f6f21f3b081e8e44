#include "pictures/embedding_page_parts.h"

namespace verbatim {

// Paper, ink and panels are those of the page of a text (cli/text_page_style.cc). The hues are OKLCH with 45 degrees
// or so between them and lightness that differs from one to the next (0.50 to 0.66 on light, 0.70 to 0.86 on dark), as
// much chroma as sRGB has there, at most 0.19; each has a contrast of 3.2 or more with the paper.
const std::string_view kEmbeddingPageStyle = R"css(
:root {
  color-scheme: light dark;
  --paper: #ffffff; --ink: #161616; --faint: #63635f; --line: #d8d8d4; --panel: #f5f5f2; --accent: #1746b8;
  --grid: #ecece8; --other: #8a8a86;
  --h0: #1e59cd; --h1: #cc3336; --h2: #018634; --h3: #7d3ab7; --h4: #db7206; --h5: #03919d; --h6: #d44996;
  --h7: #867d04;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #171717; --ink: #f0f0ee; --faint: #a3a39e; --line: #3a3a38; --panel: #222221; --accent: #8ab4ff;
    --grid: #272726; --other: #8f8f8b;
    --h0: #7caafe; --h1: #ed756e; --h2: #6dd17f; --h3: #bb8aef; --h4: #feb079; --h5: #11e4f6; --h6: #ff98ca;
    --h7: #e0d653;
  }
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; }
header, .bar, main, noscript { display: block; max-width: 120rem; margin: 0 auto; padding: 0 1.25rem; }
h1 { font-size: 1.35rem; margin: 1rem 0 .6rem; overflow-wrap: anywhere; }
dl { display: flex; flex-wrap: wrap; gap: .5rem 2rem; margin: 0 0 .8rem; }
dt { color: var(--faint); font-size: .8rem; }
dd { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.note { color: var(--faint); }
button, input { font: inherit; color: inherit; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }

/* The legend is the switch of each script. */
.bar { display: flex; flex-wrap: wrap; gap: .5rem 1.25rem; align-items: center; border-block: 1px solid var(--line);
       padding-block: .55rem; }
#legend { display: flex; flex-wrap: wrap; gap: .3rem; flex: 1 1 30rem; }
#legend button { display: inline-flex; align-items: center; gap: .35rem; background: var(--paper); cursor: pointer;
                 border: 1px solid var(--line); border-radius: 1rem; padding: .08rem .6rem .08rem .45rem; }
#legend button:hover { border-color: var(--faint); }
#legend button[aria-pressed=false] { color: var(--faint); background: var(--panel); text-decoration: line-through; }
#legend button[aria-pressed=false] svg { opacity: .3; }
#legend .count { color: var(--faint); font-size: .8rem; font-variant-numeric: tabular-nums; }
#legend .all { padding-inline: .6rem; color: var(--accent); border-color: transparent; }
.sign-of-script { width: 14px; height: 14px; flex: none; overflow: visible; }
.bar label { display: inline-flex; gap: .4rem; align-items: center; }
.bar input { width: 11rem; background: var(--paper); border: 1px solid var(--line); border-radius: 4px;
             padding: .1rem .4rem; }
#found { color: var(--faint); font-size: .8rem; min-width: 5.5rem; }

main { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr) 20rem; gap: 1.25rem; align-items: start;
       padding-top: .9rem; padding-bottom: 3rem; }
figure { margin: 0; }
.title { display: flex; justify-content: space-between; align-items: center; margin-bottom: .35rem; }
h2 { font-size: 1rem; margin: 0; }
.zoom button { min-width: 1.9rem; background: var(--paper); border: 1px solid var(--line); cursor: pointer;
               line-height: 1.5; padding: 0 .4rem; margin-inline-start: -1px; }
.zoom button:first-child { border-radius: 4px 0 0 4px; }
.zoom button:last-child { border-radius: 0 4px 4px 0; }
.zoom button:hover { background: var(--panel); }
.plot { position: relative; }
canvas { display: block; width: 100%; height: clamp(18rem, calc(100vh - 21rem), 60rem); border: 1px solid var(--line);
         border-radius: 6px; touch-action: pan-y; cursor: crosshair; user-select: none; -webkit-user-select: none; }
canvas.zoomed { touch-action: none; }
canvas.dragged { cursor: grabbing; }
figcaption { color: var(--faint); font-size: .8rem; margin-top: .4rem; max-width: 42rem; }
.tip { position: absolute; margin: 0; max-width: min(18rem, 70%); padding: .1rem .45rem; pointer-events: none;
       background: var(--panel); border: 1px solid var(--faint); border-radius: 4px; font-size: .95rem;
       white-space: pre-wrap; overflow-wrap: anywhere; }

/* Text of points; signs stand for what cannot be seen. */
.text { unicode-bidi: isolate; white-space: pre-wrap; overflow-wrap: anywhere; }
.text i { font: .72em/1 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; color: var(--faint);
          border: 1px solid var(--other); border-radius: 3px; padding: 0 .15em; margin: 0 1px; direction: ltr;
          unicode-bidi: isolate; }
.text i.bare { border: 0; padding: 0; font-size: .8em; }
.text i.padding { border: 0; padding: 0; font-size: 1em; opacity: .6; letter-spacing: .05em; }

#details { position: sticky; top: .9rem; background: var(--panel); border: 1px solid var(--line); border-radius: 6px;
           padding: .8rem 1rem; font-size: .9rem; max-height: calc(100vh - 2rem); overflow: auto; }
#details .chosen { font-size: 1.5rem; line-height: 1.35; margin: 0 0 .5rem; padding: .2rem .5rem; border-radius: 4px;
                   background: var(--paper); max-height: 30vh; overflow: auto; }
#details p { margin: .2rem 0 .5rem; }
#details .what { display: flex; align-items: center; gap: .4rem; flex-wrap: wrap; color: var(--faint); }
#details .what b { color: var(--ink); font-weight: 600; }
#details h3 { font-size: .8rem; font-weight: normal; color: var(--faint); margin: .9rem 0 .2rem;
              display: flex; justify-content: space-between; }
#details ol { list-style: none; margin: 0 -.4rem; padding: 0; }
#details li button { display: grid; grid-template-columns: auto minmax(0, 1fr) auto; gap: .5rem; align-items: center;
                     width: 100%; text-align: start; border: 0; border-radius: 4px; padding: .2rem .4rem;
                     background: none; cursor: pointer; }
#details li button:hover, #details li button.hot { background: var(--paper); }
#details li .text { max-height: 2.9em; overflow: hidden; font-size: 1rem; }
#details li .hidden-script { opacity: .45; }
#details .cosine { font-variant-numeric: tabular-nums; color: var(--faint); }
#details kbd { font: .85em ui-monospace, "DejaVu Sans Mono", monospace; border: 1px solid var(--line);
               border-radius: 3px; padding: 0 .25em; background: var(--paper); }
@media (max-width: 80rem) { main { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr) 16rem; } }
/* Small screens: details lie below, over the page. */
@media (max-width: 58rem) {
  main { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); padding-bottom: 38vh; }
  canvas { height: clamp(14rem, 50vw, 56vh); }
  #details { position: fixed; inset: auto 0 0 0; top: auto; max-height: 34vh; border-radius: 0; z-index: 2;
             border-width: 1px 0 0; padding-top: .5rem; }
  #details.idle { display: none; }
  #details .chosen { font-size: 1.2rem; margin-bottom: .2rem; }
  #details ol { display: grid; grid-template-columns: repeat(auto-fill, minmax(12.5rem, 1fr)); gap: 0 .5rem; }
}
@media (max-width: 40rem) {
  main { grid-template-columns: minmax(0, 1fr); }
  canvas { height: min(88vw, 56vh); }
  /* The whole legend would fill the screen: it scrolls to the side. */
  #legend { flex-wrap: nowrap; flex: 1 1 100%; overflow-x: auto; padding: 3px; }
  #legend button { flex: none; }
}
)css";

}  // namespace verbatim
