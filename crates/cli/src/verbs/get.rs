//! `wctl get`: lists objects, in the columns that the server makes, or whole.

use anyhow::{Result, bail};
use futures::StreamExt;
use scheduler::kinds::Kind;
use serde_json::{Value, json};

use crate::args::{Format, Get, Globals, Ps};
use crate::cluster::{Change, Cluster, Pick, code, name_of};
use crate::exit::Usage;
use crate::print::{self, Table, harmless};
use crate::target;

/// Lists, and with `--watch` goes on with each change.
pub async fn run(globals: &Globals, get: Get) -> Result<()> {
    let chosen = get.selector.is_some() || get.field_selector.is_some();
    got(globals, get).await.map_err(|error| match code(&error) {
        // A request is malformed only by what was typed into it.
        Some(400) if chosen => Usage(print::chain(&error)).into(),
        _ => error,
    })
}

async fn got(globals: &Globals, get: Get) -> Result<()> {
    let cluster = Cluster::connect(globals).await?;
    let pick = Pick { labels: get.selector.clone(), fields: get.field_selector.clone() };
    let namespace = if get.all_namespaces { None } else { Some(cluster.namespace.as_str()) };
    let format = get.output.output;
    let (kinds, names) = if get.kind.contains('/') {
        let (kind, names) = target::objects(&get.kind, &get.names)?;
        (vec![kind], names)
    } else {
        (target::kinds(&get.kind)?, get.names.clone())
    };
    if get.watch {
        return watch(&cluster, &kinds, namespace, &names, pick, format).await;
    }
    if !names.is_empty() {
        if get.all_namespaces {
            bail!(Usage("names cannot be looked up in all namespaces; name one with -n".into()));
        }
        return named(&cluster, &kinds, &names, format).await;
    }
    listed(&cluster, &kinds, namespace, &pick, format).await
}

/// `wctl ps`: the pods.
pub async fn ps(globals: &Globals, ps: Ps) -> Result<()> {
    let cluster = Cluster::connect(globals).await?;
    let namespace = if ps.all_namespaces { None } else { Some(cluster.namespace.as_str()) };
    listed(&cluster, &[&scheduler::kinds::POD], namespace, &Pick::default(), ps.output.output).await
}

async fn listed(cluster: &Cluster, kinds: &[&'static Kind], namespace: Option<&str>, pick: &Pick, format: Format) -> Result<()> {
    if !matches!(format, Format::Table | Format::Wide) {
        let mut items = Vec::new();
        for kind in kinds {
            items.extend(cluster.items(kind, namespace, pick).await?.into_iter().map(|item| typed(item, kind)));
        }
        return whole(items, format, true);
    }
    let mut some = false;
    for kind in kinds {
        let table = cluster.table(kind, namespace, None, pick).await?;
        let columns = Columns::of(&table, kind, format, namespace.is_none());
        let printed = columns.table(&table, kinds.len() > 1);
        if !printed.is_empty() && some {
            print::line("");
        }
        some |= !printed.is_empty();
        printed.print();
    }
    if !some {
        let what = kinds.iter().map(|kind| kind.plural).collect::<Vec<_>>().join(", ");
        print::note(
            namespace.map_or_else(|| format!("there are no {what}"), |namespace| format!("there are no {what} in namespace {namespace}")),
        );
    }
    Ok(())
}

async fn named(cluster: &Cluster, kinds: &[&'static Kind], names: &[String], format: Format) -> Result<()> {
    let [kind] = kinds else { bail!(Usage("names need one kind".into())) };
    let mut items = Vec::new();
    let mut rows: Option<(Columns, Table)> = None;
    for name in names {
        let object = cluster.must_get(kind, &cluster.namespace, name).await?;
        if matches!(format, Format::Table | Format::Wide) {
            let table = cluster.table(kind, Some(&cluster.namespace), Some(name), &Pick::default()).await?;
            let (columns, all) = rows.get_or_insert_with(|| {
                let columns = Columns::of(&table, kind, format, false);
                let all = Table::new(columns.headers());
                (columns, all)
            });
            columns.rows(&table, false).into_iter().for_each(|row| all.row(row));
        } else {
            items.push(typed(object, kind));
        }
    }
    match rows {
        Some((_, table)) => table.print(),
        None => whole(items, format, names.len() > 1)?,
    }
    Ok(())
}

/// JSON, YAML or names; several (or none) are a List.
fn whole(mut items: Vec<Value>, format: Format, list: bool) -> Result<()> {
    if format == Format::Name {
        items.iter().for_each(|item| print::line(typed_name(item)));
        return Ok(());
    }
    let value = if list || items.len() != 1 {
        json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items})
    } else {
        items.remove(0)
    };
    print::value(&value, format)
}

async fn watch(
    cluster: &Cluster,
    kinds: &[&'static Kind],
    namespace: Option<&str>,
    names: &[String],
    mut pick: Pick,
    format: Format,
) -> Result<()> {
    let ([kind], true) = (kinds, names.len() <= 1) else { bail!(Usage("--watch takes one kind and at most one name".into())) };
    if let Some(name) = names.first() {
        cluster.must_get(kind, namespace.unwrap_or(&cluster.namespace), name).await?;
        pick.fields = Some(pick.fields.iter().cloned().chain([format!("metadata.name={name}")]).collect::<Vec<_>>().join(","));
    }
    if matches!(format, Format::Table | Format::Wide) {
        watch_table(cluster, kind, namespace, &pick, format).await
    } else {
        watch_whole(cluster, kind, namespace, &pick, format).await
    }
}

async fn watch_whole(cluster: &Cluster, kind: &'static Kind, namespace: Option<&str>, pick: &Pick, format: Format) -> Result<()> {
    let list = cluster.list(kind, namespace, pick).await?;
    for item in list["items"].as_array().into_iter().flatten() {
        whole(vec![typed(item.clone(), kind)], format, false)?;
    }
    let version = list["metadata"]["resourceVersion"].as_str().unwrap_or("0");
    let mut changes = cluster.watch(kind, namespace, pick, version, false).await?;
    while let Some(change) = changes.next().await {
        match change? {
            Change::Is(object) | Change::Gone(object) => whole(vec![typed(object, kind)], format, false)?,
        }
    }
    Err(cluster.ended())
}

async fn watch_table(cluster: &Cluster, kind: &'static Kind, namespace: Option<&str>, pick: &Pick, format: Format) -> Result<()> {
    let first = cluster.table(kind, namespace, None, pick).await?;
    let columns = Columns::of(&first, kind, format, namespace.is_none());
    let mut table = columns.table(&first, false);
    // Headers stand there even when nothing does yet.
    table.lines().iter().for_each(print::line);
    let version = first["metadata"]["resourceVersion"].as_str().unwrap_or("0");
    let mut changes = cluster.watch(kind, namespace, pick, version, true).await?;
    while let Some(change) = changes.next().await {
        let (rows, gone) = match change? {
            Change::Is(rows) => (rows, false),
            Change::Gone(rows) => (rows, true),
        };
        table.clear();
        columns.rows(&rows, false).into_iter().for_each(|row| table.row(row));
        for row in table.body() {
            if gone { print::line(print::dim(format_args!("{row}   (gone)"))) } else { print::line(row) }
        }
    }
    Err(cluster.ended())
}

/// Items of a list carry no kind of their own.
fn typed(mut item: Value, kind: &Kind) -> Value {
    if let Some(fields) = item.as_object_mut() {
        fields.entry("kind").or_insert_with(|| kind.kind.into());
        fields.entry("apiVersion").or_insert_with(|| kind.api_version().into());
    }
    item
}

/// `deployment.apps/hello`, as kubectl writes it.
fn typed_name(item: &Value) -> String {
    let kind = Kind::of(item["apiVersion"].as_str().unwrap_or_default(), item["kind"].as_str().unwrap_or_default());
    let word = kind.map_or_else(String::new, |kind| {
        if kind.group.is_empty() { kind.singular.to_owned() } else { format!("{}.{}", kind.singular, kind.group) }
    });
    format!("{word}/{}", name_of(item))
}

/// Which columns of the server's table are shown.
struct Columns {
    kind: &'static Kind,
    shown: Vec<(usize, String)>,
    namespaces: bool,
}

impl Columns {
    fn of(table: &Value, kind: &'static Kind, format: Format, all_namespaces: bool) -> Columns {
        let definitions = table["columnDefinitions"].as_array().cloned().unwrap_or_default();
        let wanted = |definition: &Value| format == Format::Wide || definition["priority"].as_i64().unwrap_or(0) == 0;
        let named = |(at, definition): (usize, &Value)| (at, definition["name"].as_str().unwrap_or_default().to_owned());
        let shown = definitions.iter().enumerate().filter(|(_, definition)| wanted(definition)).map(named).collect();
        Columns { kind, shown, namespaces: all_namespaces && kind.namespaced }
    }

    fn headers(&self) -> Vec<String> {
        let namespace = self.namespaces.then(|| "namespace".to_owned());
        namespace.into_iter().chain(self.shown.iter().map(|(_, name)| name.clone())).collect()
    }

    fn table(&self, table: &Value, with_kind: bool) -> Table {
        let mut shown = Table::new(self.headers());
        self.rows(table, with_kind).into_iter().for_each(|row| shown.row(row));
        shown
    }

    fn rows(&self, table: &Value, with_kind: bool) -> Vec<Vec<String>> {
        let rows = table["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
        rows.iter().map(|row| self.row(row, with_kind)).collect()
    }

    fn row(&self, row: &Value, with_kind: bool) -> Vec<String> {
        let namespace = self.namespaces.then(|| row["object"]["metadata"]["namespace"].as_str().unwrap_or_default().to_owned());
        let cells = self.shown.iter().enumerate().map(|(place, (at, _))| {
            let text = cell(&row["cells"][at]);
            if place == 0 && with_kind { format!("{}/{text}", self.kind.singular) } else { painted(text) }
        });
        namespace.into_iter().chain(cells).collect()
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "<none>".to_owned(),
        Value::String(text) => harmless(text).into_owned(),
        other => other.to_string(),
    }
}

/// The words of states that deserve a look.
fn painted(text: String) -> String {
    match text.as_str() {
        "CrashLoopBackOff" | "Error" | "Failed" | "NotReady" | "RolledBack" => print::bad(text),
        "Pending" | "Progressing" | "Terminating" | "ContainerCreating" => print::pending(text),
        _ => text,
    }
}
