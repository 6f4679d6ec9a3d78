//! `wasi:config`: the variables that the spec declares, which the environment has too, under the draft's present and former name.

use wasmtime::component::Linker;

use crate::sandbox::state::State;

mod generated {
    wasmtime::component::bindgen!({ path: "../../wit/wasi-config", world: "imports" });
}

mod former {
    wasmtime::component::bindgen!({ path: "../../wit/wasi-config-runtime", world: "imports" });
}

use former::wasi::config::runtime;
use generated::wasi::config::store;

/// Adds the interface under both names.
pub fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    store::add_to_linker::<_, wasmtime::component::HasSelf<_>>(linker, |state| state)?;
    runtime::add_to_linker::<_, wasmtime::component::HasSelf<_>>(linker, |state| state)
}

fn value(state: &State, key: &str) -> Option<String> {
    state.grants.spec.env.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone())
}

impl store::Host for State {
    fn get(&mut self, key: String) -> Result<Option<String>, store::Error> {
        Ok(value(self, &key))
    }

    fn get_all(&mut self) -> Result<Vec<(String, String)>, store::Error> {
        Ok(self.grants.spec.env.clone())
    }
}

impl runtime::Host for State {
    fn get(&mut self, key: String) -> Result<Option<String>, runtime::ConfigError> {
        Ok(value(self, &key))
    }

    fn get_all(&mut self) -> Result<Vec<(String, String)>, runtime::ConfigError> {
        Ok(self.grants.spec.env.clone())
    }
}
