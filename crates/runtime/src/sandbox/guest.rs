//! A component made ready to run for one pod.

use std::sync::Arc;
use std::time::Instant;

use http::{Request, Response};
use http_body_util::BodyExt;
use parking_lot::Mutex;

use super::budget::{Budget, bytes};
use super::link::Linked;
use super::respond::{self, Job};
use super::run::{Progress, Run};
use super::serve::{self, Finished, Sandbox};
use super::state::Grants;
use super::{Error, Failure, Host, PodIdentity, Spec, command};
use crate::body::Body;
use crate::cache::Code;
use crate::engine::{self, Engines, Share};
use crate::site::Site;

/// A component, linked and bounded for one pod; or files that are served in its place. Cheap to clone.
#[derive(Clone)]
pub struct Guest(What);

#[derive(Clone)]
enum What {
    Component(Arc<Shared>),
    Files(Arc<Served>),
}

/// Files, and how many may ask for them at a time.
struct Served {
    site: Arc<Site>,
    pod: PodIdentity,
    budget: Arc<Budget>,
}

pub(super) struct Shared {
    pub grants: Arc<Grants>,
    code: Arc<Code>,
    /// What the App may have under way on this node.
    share: Arc<Share>,
    /// For how much of that one sandbox counts.
    weight: u32,
    /// Sandboxes that may serve again.
    idle: Mutex<Vec<Sandbox>>,
}

impl Shared {
    /// Keeps a sandbox for the next request if it served well and may serve again; otherwise it goes here.
    pub fn finish(&self, finished: Finished) -> Result<(), Failure> {
        let Finished { sandbox, result } = finished;
        result?;
        let again = |sandbox: &Sandbox| sandbox.served < self.grants.spec.reuse && sandbox.is_of(self.code.version().component.engine());
        if let Some(sandbox) = sandbox.filter(again) {
            self.idle.lock().push(sandbox);
        }
        Ok(())
    }

    /// The component, linked, for the engine of its newest code.
    fn newest(&self) -> Result<(wasmtime::Engine, Arc<Linked>), Failure> {
        let version = self.code.version();
        let linked = version.linked.get().ok_or_else(|| Failure::Refused("the component is not linked".into()))?;
        Ok((version.component.engine().clone(), linked.clone()))
    }

    /// Whether one sandbox fits the pod's memory at all.
    fn fits(&self) -> Result<(), Failure> {
        let pages = self.code.version().component.resources_required().and_then(|required| required.max_initial_memory_size).unwrap_or(0);
        let needed = pages.saturating_mul(64 << 10);
        let limit = self.grants.budget.memory_limit();
        if needed <= limit {
            return Ok(());
        }
        let (needed, limit) = (bytes(needed), bytes(limit));
        Err(Failure::NoMemory(format!("it needs {needed} of memory to start and its limit is {limit}; raise limits.memory")))
    }

    /// Starts an HTTP guest and throws it away: a component that cannot start must not count as ready. A command shows it when it runs.
    async fn try_start(self: &Arc<Self>) -> Result<(), Failure> {
        let (engine, linked) = self.newest()?;
        let Some(pre) = linked.http.clone() else { return Ok(()) };
        let time = self.grants.spec.time;
        let grants = self.grants.clone();
        let progress = Arc::<Progress>::default();
        let told = progress.clone();
        // As a request's work, so that one that loops here is moved out of the way too.
        let work = async move {
            match serve::start(&engine, &pre, grants, &told).await {
                Ok(_) => Finished { sandbox: None, result: Ok(()) },
                Err(failure) => Finished::failed(failure),
            }
        };
        let run = Run::new(work, progress, &self.grants);
        tokio::time::timeout(time, run).await.map_or(Err(Failure::Deadline(time)), |finished| finished.result)
    }

    async fn handle(self: &Arc<Self>, request: Request<Body>) -> Result<Response<Body>, Failure> {
        let shared = self;
        let (engine, linked) = shared.newest()?;
        let permit = shared.grants.budget.permit().ok_or(Failure::Busy(shared.grants.spec.concurrency))?;
        let place = shared.share.take(shared.weight).map_err(Failure::NoMemory)?;
        let deadline = Instant::now().checked_add(shared.grants.spec.time);
        let (progress, bodiless) = (Arc::<Progress>::default(), request.method() == http::Method::HEAD);
        let run = self.begin(engine, &linked, deadline, request, progress.clone())?;
        respond::respond(Job { run, progress, shared: shared.clone(), bodiless, _permits: (permit, place) }).await
    }

    fn begin(
        self: &Arc<Self>,
        engine: wasmtime::Engine,
        linked: &Linked,
        deadline: Option<Instant>,
        request: Request<Body>,
        progress: Arc<Progress>,
    ) -> Result<Run<Finished>, Failure> {
        let Some(pre) = &linked.http else {
            return Err(Failure::Refused("the component does not answer HTTP requests".into()));
        };
        self.code.rest.ask();
        let idle = self.idle(&engine);
        let work = serve::serve(idle, (engine, pre.clone(), self.grants.clone()), deadline, request, progress.clone());
        Ok(Run::new(work, progress, &self.grants))
    }

    /// A sandbox that may serve again. Those with older code have served their time.
    fn idle(&self, engine: &wasmtime::Engine) -> Option<Sandbox> {
        let mut idle = self.idle.lock();
        let sandbox = idle.pop()?;
        if sandbox.is_of(engine) {
            return Some(sandbox);
        }
        let older = std::mem::take(&mut *idle);
        drop(idle);
        drop(older);
        None
    }

    async fn run(self: &Arc<Self>) -> Result<i32, Failure> {
        let shared = self;
        let (engine, linked) = shared.newest()?;
        let Some(pre) = linked.run.clone() else {
            return Err(Failure::Refused("the component does not export wasi:cli/run".into()));
        };
        let _permit = shared.grants.budget.permit().ok_or(Failure::Busy(shared.grants.spec.concurrency))?;
        let progress = Arc::<Progress>::default();
        let (grants, told) = (shared.grants.clone(), progress.clone());
        Run::new(async move { command::run(&engine, &pre, grants, told).await }, progress, &shared.grants).await
    }
}

impl Guest {
    /// Links `code` against what `spec` grants and starts one sandbox to see that it can start.
    ///
    /// # Errors
    /// When an import is not offered (it is named), or the component traps, loops or needs too much memory while it starts.
    pub async fn prepare(engines: &Engines, code: Arc<Code>, spec: impl Into<Arc<Spec>>, host: Host) -> Result<Self, Error> {
        let spec = spec.into();
        let pod = spec.pod.name.clone();
        let linked = engines.link(&code.version()).map_err(|message| Error::Link { pod: pod.clone(), message })?;
        if linked.http.is_none() && linked.run.is_none() {
            return Err(Error::NothingToRun { pod });
        }
        let share = engines.share(&spec.pod, host.neighbours);
        let grants = Grants::new(spec, host).await?;
        grants.check_dirs()?;
        let weight = engine::weight(&code.version().component);
        let shared = Arc::new(Shared { grants, code, share, weight, idle: Mutex::default() });
        shared.fits().and(shared.try_start().await).map_err(|failure| Error::Start { pod, failure })?;
        Ok(Self(What::Component(shared)))
    }

    /// Files for a pod; of its limits they know concurrency alone.
    pub fn files(site: Arc<Site>, spec: &Spec) -> Self {
        Self(What::Files(Arc::new(Served { site, budget: Budget::new(spec.concurrency, spec.memory), pod: spec.pod.clone() })))
    }

    fn budget(&self) -> &Arc<Budget> {
        match &self.0 {
            What::Component(shared) => &shared.grants.budget,
            What::Files(served) => &served.budget,
        }
    }

    /// Whether it answers HTTP requests; a component that also exports `wasi:cli/run` does.
    pub fn is_http(&self) -> bool {
        match &self.0 {
            What::Component(shared) => shared.newest().is_ok_and(|(_, linked)| linked.http.is_some()),
            What::Files(_) => true,
        }
    }

    /// Serves one request. A response that is still being written keeps its permits until its end.
    ///
    /// # Errors
    /// When there is no permit, or the guest fails before its response has begun.
    pub async fn handle(&self, request: Request<Body>) -> Result<Response<Body>, Failure> {
        match &self.0 {
            What::Component(shared) => shared.handle(request).await,
            What::Files(served) => served.handle(request).await,
        }
    }

    /// Runs `wasi:cli/run` to its end and returns its exit code.
    ///
    /// # Errors
    /// When the guest traps or there is no memory for it.
    pub async fn run(&self) -> Result<i32, Failure> {
        match &self.0 {
            What::Component(shared) => shared.run().await,
            What::Files(_) => Err(Failure::Refused("a folder of files has nothing to run".into())),
        }
    }

    /// CPU time that it used, where that is counted.
    pub fn cpu(&self) -> Option<std::time::Duration> {
        match &self.0 {
            What::Component(shared) => shared.grants.share.as_ref().map(|share| share.used()),
            What::Files(_) => None,
        }
    }

    /// CPU time that it used so far. Files are not counted: they take next to none.
    pub fn spent(&self) -> std::time::Duration {
        self.cpu().unwrap_or_else(|| self.budget().spent())
    }

    /// Bytes of linear memory and tables that its sandboxes hold.
    pub fn holds(&self) -> u64 {
        self.budget().everything_held()
    }

    /// Whose guest it is.
    pub fn pod(&self) -> &PodIdentity {
        match &self.0 {
            What::Component(shared) => &shared.grants.spec.pod,
            What::Files(served) => &served.pod,
        }
    }

    /// Requests under way.
    pub fn in_flight(&self) -> u32 {
        self.budget().under_way()
    }

    /// Bytes of linear memory that its sandboxes hold.
    pub fn memory_used(&self) -> u64 {
        self.budget().memory_held()
    }
}

impl Served {
    async fn handle(&self, request: Request<Body>) -> Result<Response<Body>, Failure> {
        let permit = self.budget.permit().ok_or(Failure::Busy(self.budget.requests()))?;
        let response = self.site.serve(request).await;
        // Until its last byte is out, or nobody wants it any more.
        Ok(response.map(|body| {
            let held = body.map_frame(move |frame| {
                let _ = &permit;
                frame
            });
            held.boxed_unsync()
        }))
    }
}
