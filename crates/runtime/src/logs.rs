//! What guests print: bounded, rotated files for each pod.
