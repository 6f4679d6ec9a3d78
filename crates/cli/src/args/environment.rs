//! The options that variables of the environment stand for.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Error, Parser};

use super::value::address;
use super::{Cli, Globals};

impl Cli {
    /// The command line of this process, and its environment where that says nothing; ends the process with 2 if it makes no sense.
    pub fn read() -> Cli {
        let mut cli = Cli::try_parse().unwrap_or_else(|error| without_hidden(error).exit());
        match cli.globals.fill(|name| std::env::var_os(name)) {
            Ok(()) => cli,
            Err(sentence) => Cli::command().error(ErrorKind::ValueValidation, sentence).exit(),
        }
    }
}

impl Globals {
    /// Takes what was not given from the environment. Were it left to the parser, an empty variable would be an empty option instead
    /// of none, and every line of usage would have the options as if they were required.
    fn fill(&mut self, variable: impl Fn(&str) -> Option<OsString>) -> Result<(), String> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &str| match set(name).map(OsString::into_string) {
            Some(Err(_)) => Err(format!("the variable {name} is not UTF-8")),
            Some(Ok(text)) => Ok(Some(text)),
            None => Ok(None),
        };
        let checked = |name: &str| {
            let parsed = text(name)?.map(|text| address(&text)).transpose();
            parsed.map_err(|why| format!("invalid value of the variable {name}: {why}"))
        };
        self.data = self.data.take().or_else(|| set("WCTL_DATA").map(PathBuf::from));
        self.api = given_or(self.api.take(), || checked("WCTL_API"))?;
        self.http = given_or(self.http.take(), || checked("WCTL_HTTP"))?;
        self.namespace = given_or(self.namespace.take(), || text("WCTL_NAMESPACE"))?;
        Ok(())
    }
}

fn given_or<T>(given: Option<T>, other: impl FnOnce() -> Result<Option<T>, String>) -> Result<Option<T>, String> {
    if given.is_some() { Ok(given) } else { other() }
}

/// The parser offers hidden verbs too where a verb is missing.
fn without_hidden(mut error: Error) -> Error {
    if error.kind() == ErrorKind::MissingSubcommand
        && let Some(ContextValue::Strings(verbs)) = error.remove(ContextKind::ValidSubcommand)
    {
        let command = Cli::command();
        let hidden = |name: &String| command.find_subcommand(name).is_some_and(clap::Command::is_hide_set);
        let shown = verbs.into_iter().filter(|name| !hidden(name)).collect();
        error.insert(ContextKind::ValidSubcommand, ContextValue::Strings(shown));
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(args: &[&str], variables: &[(&str, &str)]) -> Result<Globals, String> {
        let mut globals = Cli::parse_from([&["wctl"], args, &["status"]].concat()).globals;
        let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value));
        globals.fill(variable).map(|()| globals)
    }

    #[test]
    fn options_come_before_variables_and_empty_ones_are_unset() {
        let globals = filled(&["--data", "a"], &[("WCTL_DATA", "b"), ("WCTL_API", "localhost:1"), ("WCTL_NAMESPACE", "")]).unwrap();
        assert_eq!((globals.data, globals.api, globals.namespace), (Some(PathBuf::from("a")), Some("localhost:1".to_owned()), None));
        assert_eq!(filled(&[], &[("WCTL_DATA", "")]).unwrap().data, None);
        assert!(filled(&[], &[("WCTL_HTTP", "nowhere")]).unwrap_err().contains("WCTL_HTTP: `nowhere` is no address"));
        assert!(filled(&["--http", "localhost:2"], &[("WCTL_HTTP", "nowhere")]).is_ok(), "it is not looked at");
    }

    #[test]
    fn hidden_verbs_are_offered_to_nobody() {
        let error = without_hidden(Cli::try_parse_from(["wctl", "--data", "x"]).unwrap_err()).to_string();
        assert!(error.contains("rollout") && !error.contains("compile-child"), "{error}");
    }
}
