//! Decides what runs where: the model, the plan, the store and the Kubernetes-shaped API. Never wasmtime.
//!
//! Pure, values in and values out: [`app`], [`model`], [`plan`], [`routes`], [`balance`], [`cron`], [`names`], [`kinds`], [`quantity`].
//! Shell: [`store`], [`objects`], [`reconcile`], [`api`], [`auth`], [`pki`], [`freeze`], [`backup`], [`audit`], [`server`].

pub mod app;
pub mod balance;
pub mod cron;
pub mod kinds;
pub mod model;
pub mod names;
pub mod plan;
pub mod quantity;
pub mod routes;

#[allow(clippy::disallowed_methods, reason = "the shell asks the clock, draws lots and does IO for the pure core")]
pub mod api;
#[allow(clippy::disallowed_methods, reason = "shell")]
pub mod audit;
#[allow(clippy::disallowed_methods, reason = "shell")]
pub mod auth;
#[allow(clippy::disallowed_methods, reason = "shell")]
pub mod backup;
#[allow(clippy::disallowed_methods, reason = "shell")]
pub mod freeze;
#[allow(clippy::disallowed_methods, reason = "shell")]
pub mod objects;
#[allow(clippy::disallowed_methods, reason = "shell")]
pub mod pki;
#[allow(clippy::disallowed_methods, reason = "shell")]
pub mod reconcile;
#[allow(clippy::disallowed_methods, reason = "shell")]
pub mod server;
#[allow(clippy::disallowed_methods, reason = "shell")]
pub mod store;
