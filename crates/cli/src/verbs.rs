//! One file for each verb.

pub mod completion;
pub mod describe;
pub mod events;
pub mod get;
pub mod logs;
pub mod new;
pub mod rollout;
pub mod scale;
pub mod secret;
pub mod status;
