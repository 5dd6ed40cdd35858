// What every Plotly drawing of the dashboard shares: the script, the look of the house, safe texts.

import { answered } from "./poll.js";

let plotly = null;

// Running Plotly's script takes the browser the better part of a second, in which it does nothing
// else. So the page's numbers come first: header, knobs and tables show before it is begun.
export function loadPlotly(address) {
  plotly ??= answered().then(idle).then(() => run(address));
  return plotly;
}

function idle() {
  return new Promise((resolve) => {
    if (window.requestIdleCallback) requestIdleCallback(() => resolve(), { timeout: 200 });
    else setTimeout(resolve, 50);
  });
}

function run(address) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = address;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => {
      plotly = null;
      reject(new Error(`Plotly could not be loaded from ${address}`));
    };
    document.head.append(script);
  });
}

// Plotly reads a few tags and %{...} in texts; a class name must not be able to use them.
export function escape(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll("%{", "% {");
}

export function houseAxis(theme) {
  return {
    gridcolor: theme.grid,
    zeroline: false,
    linecolor: theme.border,
    tickfont: { size: 11 },
    automargin: true,
  };
}

// The layout that is laid under a drawing's own: size, fonts, colours, legend on top. Width in pixels.
export function houseLayout(theme, width, height) {
  const narrow = width < 420;
  return {
    width,
    height,
    margin: { l: 44, r: 10, t: 6, b: 36 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: theme.font, size: 12, color: theme.text },
    hoverlabel: { bgcolor: theme.background, bordercolor: theme.border, font: { size: 12 } },
    showlegend: true,
    legend: {
      orientation: "h",
      x: 0,
      y: 1.02,
      yanchor: "bottom",
      font: { size: narrow ? 11 : 12 },
      itemwidth: 30,
      bgcolor: "rgba(0,0,0,0)",
    },
    modebar: {
      bgcolor: "rgba(0,0,0,0)",
      color: theme.quiet,
      activecolor: theme.text,
    },
    uirevision: "kept",
  };
}
