"""Keeps the keyboard focus on the page: Streamlit removes a focused button without a successor."""

import streamlit as st

# It waits for half a second: the second Enter on a button must not press the next one.
_SCRIPT = """<script>
window.keepFocus ??= (() => {
  let last = null;
  document.addEventListener("pointerdown", () => { last = null; });
  document.addEventListener("focusin", event => { last = event.target; });
  return setInterval(() => {
    const isLost = last && (!last.isConnected || last.disabled);
    if (!isLost || document.activeElement !== document.body) return;
    last = null;
    const controls = ".stMain :is(button, input):not(:disabled)";
    const next = document.querySelector(".st-key-start button:not(:disabled)");
    (next ?? document.querySelector(controls))?.focus({ preventScroll: true });
  }, 500);
})();
</script>"""


def keep() -> None:
    """Move the focus to the start button, or the first control, when the focused one is removed."""
    st.html(_SCRIPT, unsafe_allow_javascript=True)
