// Entry of the live component: one view per mounted element, updated in place ever after.

import { ChartView } from "./chart.js";
import { ClassTableView } from "./class_table.js";
import { DiagnosisView } from "./diagnosis.js";
import { readTheme } from "./dom.js";
import { EventsView } from "./events.js";
import { FeatureSpaceView } from "./feature_space.js";
import { FigureView } from "./figure.js";
import { ApTableView } from "./gallery_ap.js";
import { GalleryView } from "./gallery.js";
import { HeaderView } from "./header.js";
import { HeatMapView } from "./heat_map.js";
import { RunListView } from "./run_list.js";
import { SingleClickView } from "./single_click.js";
import { SteeringView } from "./steering.js";

const VIEWS = {
  ap_table: ApTableView,
  chart: ChartView,
  class_table: ClassTableView,
  diagnosis: DiagnosisView,
  events: EventsView,
  feature_space: FeatureSpaceView,
  figure: FigureView,
  gallery: GalleryView,
  header: HeaderView,
  heat_map: HeatMapView,
  run_list: RunListView,
  single_click: SingleClickView,
  steering: SteeringView,
};

const mounted = new WeakMap();

function addStyle(assets) {
  if (document.querySelector("link[data-fasa]")) return;
  const link = document.createElement("link");
  link.dataset.fasa = "styles";
  link.rel = "stylesheet";
  link.href = `${assets}styles.css`;
  document.head.append(link);
}

// Streamlit calls this again whenever the data or the theme change, with the same element.
export function mount(component) {
  const { data, parentElement } = component;
  addStyle(data.assets);
  let view = mounted.get(parentElement);
  if (!view || view.kind !== data.kind) {
    view?.destroy();
    const root = parentElement.querySelector(".fasa-root");
    root.replaceChildren();
    view = new VIEWS[data.kind](root);
    view.kind = data.kind;
    mounted.set(parentElement, view);
  }
  parentElement.querySelector(".fasa-root").dataset.theme = readTheme(parentElement).dark ? "dark" : "light";
  view.update(component);
  return () => {
    if (mounted.get(parentElement) !== view) return;
    mounted.delete(parentElement);
    view.destroy();
  };
}
