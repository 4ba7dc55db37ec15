import { mount } from "svelte";
import App from "./App.svelte";
import "./styles/tokens.css";
import "./styles/base.css";
import "katex/dist/katex.min.css";

// The token of the link is in a cookie by now: it does not stay in the address, which people copy.
if (location.search) history.replaceState(null, "", location.pathname + location.hash);

mount(App, { target: document.getElementById("studio")! });
