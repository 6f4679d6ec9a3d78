//! One file for each verb.

pub mod build;
pub mod completion;
pub mod delete;
pub mod deploy;
pub mod describe;
pub mod diff;
pub mod down;
pub mod events;
pub mod get;
pub mod images;
pub mod inspect;
pub mod login;
pub mod logs;
pub mod new;
pub mod node;
pub mod prune;
pub mod pull;
pub mod push;
pub mod requests;
pub mod rollout;
pub mod run;
pub mod scale;
pub mod secret;
pub mod server;
pub mod status;
pub mod up;
