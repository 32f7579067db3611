//! Looking at the own node: what the API asks of whoever owns the process, and what it is told.

use std::{
    io,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::timeout,
};
use utoipa::ToSchema;

use super::{
    Service,
    problem::{INTERNAL, NOT_READY, Problem},
    server::Within,
};

/// How long a node looks at itself.
pub const EXAMINATION_TIME_MAX: Duration = Duration::from_secs(12);
/// Until there is a report: it is bounded by itself.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(15);
/// One at a time is looked for.
const WAITING_MAX: usize = 1;

/// A look at the node, as somebody asks for it.
#[derive(Debug)]
pub struct DoctorOrder {
    answer: oneshot::Sender<DoctorReport>,
    /// Nobody else looks while it is held.
    place: OwnedSemaphorePermit,
}

impl DoctorOrder {
    /// Tells what was found to everybody who asked meanwhile.
    pub fn answer(self, service: &Service, report: DoctorReport) {
        let Self { answer, place } = self;
        service.doctor.keep(&report);
        // Whoever asked may have gone.
        let _gone = answer.send(report);
        drop(place);
    }
}

/// What was looked at, with what was found: the report of `iceway doctor`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct DoctorReport {
    /// Whether nothing fails; with `--strict`, whether nothing should be changed either.
    pub ok: bool,
    /// What was looked at.
    pub about: String,
    /// Of the program that looked.
    pub version: &'static str,
    /// How long it took.
    pub milliseconds: u64,
    /// How many lines there are of each level.
    pub counts: DoctorCounts,
    /// The lines, in the order of `config/REFERENCE.md`.
    pub checks: Vec<DoctorLine>,
}

/// How many lines there are of each level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct DoctorCounts {
    /// As it should be.
    pub ok: usize,
    /// Could be better; nothing is wrong.
    pub hint: usize,
    /// Not looked at.
    pub skipped: usize,
    /// Works, and should be changed.
    pub warning: usize,
    /// Does not work, or is not safe.
    pub failure: usize,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct DoctorLine {
    /// Which check it is: stable.
    #[schema(example = "reach.udp")]
    pub id: &'static str,
    /// The heading it stands under, for people.
    #[schema(example = "Ways to the relay")]
    pub section: &'static str,
    /// What was looked at, for people: the last word of the id, and the subject.
    #[schema(example = "udp 192.0.2.1:3478")]
    pub name: String,
    /// What was looked at, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// How bad it is.
    #[schema(value_type = String, pattern = "^(ok|hint|skipped|warning|failure)$")]
    pub level: &'static str,
    /// What is so.
    pub fact: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

/// Where looks at the node are asked for.
#[derive(Debug)]
pub(super) struct DoctorDesk {
    orders: OnceLock<mpsc::Sender<DoctorOrder>>,
    free: Arc<Semaphore>,
    /// The latest report, with when it was there.
    latest: Mutex<Option<(Instant, DoctorReport)>>,
}

impl Default for DoctorDesk {
    fn default() -> Self {
        Self { orders: OnceLock::new(), free: Arc::new(Semaphore::new(1)), latest: Mutex::default() }
    }
}

impl Service {
    /// The looks at this node that callers ask for from now on. Once; until then, and when this is dropped, they are
    /// refused.
    #[must_use]
    pub fn doctor_orders(&self) -> mpsc::Receiver<DoctorOrder> {
        let (orders, receiver) = mpsc::channel(WAITING_MAX);
        let _is_first = self.doctor.orders.set(orders);
        receiver
    }

    /// Connections to the API of this node that leave no process: for its own looks at itself.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub fn within(&self) -> io::Result<Within> {
        Within::new(self)
    }

    /// Looks at the node. Those who ask while somebody looks wait, and share the next report.
    pub(super) async fn examine(&self) -> Result<DoctorReport, Problem> {
        let asked = Instant::now();
        let ending = || NOT_READY.with("The process ends.");
        let place = Arc::clone(&self.doctor.free).acquire_owned().await.map_err(|_| ending())?;
        if let Some(report) = self.doctor.since(asked) {
            return Ok(report);
        }
        let (answer, answered) = oneshot::channel();
        let orders = self.doctor.orders.get().ok_or_else(ending)?;
        orders.try_send(DoctorOrder { answer, place }).map_err(|_| ending())?;
        match timeout(ANSWER_TIME_MAX, answered).await {
            Ok(Ok(report)) => Ok(report),
            Ok(Err(_)) => Err(ending()),
            Err(_) => Err(INTERNAL.with("The node could not look at itself in time.")),
        }
    }
}

impl DoctorDesk {
    /// A report that became known after that.
    fn since(&self, asked: Instant) -> Option<DoctorReport> {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.as_ref().filter(|(known, _)| *known > asked).map(|(_, report)| report.clone())
    }

    fn keep(&self, report: &DoctorReport) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        *latest = Some((Instant::now(), report.clone()));
    }
}
