"""The dashboard's entry script: navigation only. Streamlit runs it anew for every interaction."""

import streamlit as st

# As text, so that the icon comes with the page and not from another host.
ICON = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'>"
    "<rect width='32' height='32' rx='7' fill='#0072B2'/>"
    "<path d='M5 22 L12 13 L18 19 L27 8' fill='none' stroke='white' stroke-width='3.4' "
    "stroke-linecap='round' stroke-linejoin='round'/></svg>"
)
STYLE = """<style>
[data-testid="stMainBlockContainer"] { padding-left: 1.5rem; padding-right: 1.5rem; }
[data-testid="stMainBlockContainer"] > [data-testid="stVerticalBlock"] { gap: 0.75rem; }
[data-tag] { background: color-mix(in srgb, #3A8FC4 20%, transparent) !important; }
[data-tag], [data-tag] * { color: inherit !important; }
@media (max-width: 640px) {
  [data-testid="stMainBlockContainer"] { padding-left: 0.6rem; padding-right: 0.6rem; }
}
</style>"""

st.set_page_config(page_title="FASA Live", page_icon=ICON, layout="wide")
st.html(STYLE)
pages = [
    st.Page("pages/runs.py", title="Runs", icon=":material/list:", default=True),
    st.Page("pages/live.py", title="Live run", icon=":material/show_chart:", url_path="run"),
    st.Page(
        "pages/super_groups.py",
        title="Super-groups",
        icon=":material/workspaces:",
        url_path="super-groups",
    ),
    st.Page("pages/classifier.py", title="Classifier", icon=":material/straighten:"),
    st.Page(
        "pages/feature_space.py",
        title="Feature space",
        icon=":material/scatter_plot:",
        url_path="features",
    ),
    st.Page("pages/detections.py", title="Detections", icon=":material/image_search:"),
    st.Page("pages/compare.py", title="Compare", icon=":material/compare_arrows:"),
    st.Page("pages/new_run.py", title="New run", icon=":material/add_circle:", url_path="new"),
]
st.navigation(pages, position="top").run()
