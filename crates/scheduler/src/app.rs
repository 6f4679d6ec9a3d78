//! app.yaml to objects: the only place that knows its syntax.
