//! app.yaml as stories: a file in, the app or its mistakes out. `m…` names the case of the list of attacks.

#![allow(clippy::disallowed_methods, reason = "tests read documents and take times")]

mod capabilities;
mod chance;
mod changes;
mod converting;
mod documents;
mod files;
mod memory;
mod objects;
mod places;
mod support;
mod syntax;
mod values;
mod variables;
