//! One incident's course of events, cut where a name, an id or a time stands, so that it can be told
//! again of another workload.

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use orderly::domain::event::{Event, Stream};
use orderly::domain::id::{Digest, Episode, Fingerprint, IncidentId};
use orderly::domain::plan::Plan;
use orderly::journal::{Draft, Entry, Kind, codec};
use serde::Deserialize;

/// Where the workloads of the courses are.
pub struct Place;

impl Place {
    pub const NAMESPACE: &str = "history";

    /// As long for every number: what is cut fits whatever is put in.
    pub fn name(number: u64) -> String {
        format!("agent-{number:07}")
    }
}

/// Whom an incident is about.
pub struct Workload {
    alertname: &'static str,
    name: String,
    fingerprint: Fingerprint,
}

impl Workload {
    pub fn new(alertname: &'static str, number: u64) -> Self {
        let name = Place::name(number);
        let fingerprint = Fingerprint::of(labels(alertname, &name));
        Self { alertname, name, fingerprint }
    }

    pub fn labels(&self) -> [(&str, &str); 4] {
        labels(self.alertname, &self.name)
    }

    fn incident(&self, starts_at: Timestamp) -> IncidentId {
        IncidentId::of(Episode { fingerprint: self.fingerprint, starts_at })
    }
}

fn labels<'a>(alertname: &'a str, name: &'a str) -> [(&'a str, &'a str); 4] {
    [
        ("alertname", alertname),
        ("deployment", name),
        ("namespace", Place::NAMESPACE),
        ("severity", "critical"),
    ]
}

/// What differs from one repetition to the next.
#[derive(Clone, Copy)]
enum Mark {
    Name,
    Fingerprint,
    Start,
    Incident,
    Digest,
    /// The number of the delivery that was correlated.
    Through,
}

enum Piece {
    Text(String),
    Mark(Mark),
}

struct Template {
    of_incident: bool,
    kind: Kind,
    after: SignedDuration,
    body: Vec<Piece>,
    /// The delivery before it, counted from the course's first entry.
    delivery: u64,
    is_plan: bool,
}

/// The course.
pub struct Course {
    alertname: &'static str,
    events: Vec<Template>,
}

#[derive(Deserialize)]
struct Proposed {
    plan: Plan,
}

impl Course {
    /// The course that these entries are, all of one incident.
    pub fn of(entries: &[Entry], of: Workload, starts_at: Timestamp) -> anyhow::Result<Self> {
        let first = entries.first().context("a course has entries")?;
        let id = of.incident(starts_at);
        let mut digest = None;
        let mut delivery = 0;
        let mut through = None;
        let mut texts = Vec::new();
        for (place, entry) in (0..).zip(entries) {
            match codec::decode(entry)?.event {
                Event::AlertsReceived { .. } => delivery = place,
                Event::AlertsCorrelated { through: seq, .. } => through = Some(seq),
                Event::PlanProposed { plan, digest: said, .. } => {
                    anyhow::ensure!(digest.is_none(), "the course has one plan");
                    anyhow::ensure!(plan.digest() == said, "the digest is the plan's");
                    // So that a workload has one digest, whichever incident it is.
                    let text = serde_json::to_string(&plan)?;
                    let tied = [id.to_string(), starts_at.to_string(), of.fingerprint.to_string()];
                    let free = tied.iter().all(|tied| !text.contains(tied));
                    anyhow::ensure!(free, "the plan is of the workload, not of the incident");
                    digest = Some(said.to_string());
                }
                _ => {}
            }
            texts.push((delivery, String::from_utf8(entry.body.clone())?));
        }
        let digest = digest.context("the course has a plan")?;
        let marks = [
            (of.name.clone(), Mark::Name),
            (of.fingerprint.to_string(), Mark::Fingerprint),
            (starts_at.to_string(), Mark::Start),
            (id.to_string(), Mark::Incident),
            (digest, Mark::Digest),
        ];
        let mut events = Vec::new();
        for (entry, (delivery, text)) in entries.iter().zip(texts) {
            let kind = entry.kind.clone();
            let is_plan = kind.as_str() == "PlanProposed";
            let body = match (kind.as_str(), through) {
                ("AlertsCorrelated", Some(_)) => correlated(&text)?,
                _ => cut(&text, &marks),
            };
            let stream = Stream::parse(entry.stream.as_str()).context("a stream of the domain")?;
            let of_incident = matches!(stream, Stream::Incident(_));
            let after = entry.time.duration_since(first.time);
            events.push(Template { of_incident, kind, after, body, delivery, is_plan });
        }
        Ok(Self { alertname: of.alertname, events })
    }

    /// How many entries it has.
    pub fn len(&self) -> u64 {
        self.events.len() as u64
    }

    /// Another workload for it to be about.
    pub fn workload(&self, number: u64) -> Workload {
        Workload::new(self.alertname, number)
    }

    /// The course once more, from `start` on, after `seq` other entries. The digest of the plan is
    /// found once for a workload.
    pub fn again(
        &self,
        known: &mut (Workload, Option<Digest>),
        start: Timestamp,
        seq: u64,
    ) -> anyhow::Result<Vec<Draft>> {
        let (workload, digest) = known;
        let starts_at = Timestamp::from_second(start.as_second())?;
        let id = workload.incident(starts_at);
        let stream = codec::stream_id(&Stream::Incident(id.clone()));
        let intake = codec::stream_id(&Stream::Intake);
        let fresh = Fresh {
            name: &workload.name,
            fingerprint: workload.fingerprint.to_string(),
            start: starts_at.to_string(),
            incident: id.to_string(),
        };
        let digest = match digest {
            Some(digest) => *digest,
            None => {
                let plan = self.events.iter().find(|event| event.is_plan).context("a plan")?;
                let body = plan.body(&fresh, "", 0);
                let Proposed { plan } = serde_json::from_str(&body)?;
                *digest.insert(plan.digest())
            }
        };
        let digest = digest.to_string();
        let drafts = self.events.iter().map(|event| Draft {
            stream: if event.of_incident { stream.clone() } else { intake.clone() },
            kind: event.kind.clone(),
            time: start + event.after,
            body: event.body(&fresh, &digest, seq + 1 + event.delivery).into_bytes(),
        });
        Ok(drafts.collect())
    }
}

struct Fresh<'a> {
    name: &'a str,
    fingerprint: String,
    start: String,
    incident: String,
}

impl Template {
    fn body(&self, fresh: &Fresh<'_>, digest: &str, through: u64) -> String {
        let through = through.to_string();
        let pieces: Vec<&str> = self
            .body
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.as_str(),
                Piece::Mark(Mark::Name) => fresh.name,
                Piece::Mark(Mark::Fingerprint) => &fresh.fingerprint,
                Piece::Mark(Mark::Start) => &fresh.start,
                Piece::Mark(Mark::Incident) => &fresh.incident,
                Piece::Mark(Mark::Digest) => digest,
                Piece::Mark(Mark::Through) => &through,
            })
            .collect();
        pieces.concat()
    }
}

/// The text, cut where one of the marks stands.
fn cut(text: &str, marks: &[(String, Mark)]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = text;
    loop {
        let next =
            marks.iter().filter_map(|(needle, mark)| Some((rest.find(needle)?, needle, mark)));
        let Some((at, needle, mark)) = next.min_by_key(|(at, _, _)| *at) else {
            pieces.push(Piece::Text(rest.to_owned()));
            return pieces;
        };
        pieces.push(Piece::Text(rest[..at].to_owned()));
        pieces.push(Piece::Mark(*mark));
        rest = &rest[at + needle.len()..];
    }
}

/// The text of an `AlertsCorrelated`, cut where its number stands.
fn correlated(text: &str) -> anyhow::Result<Vec<Piece>> {
    let field = "\"through\":";
    let at = text.find(field).context("it says up to where")? + field.len();
    let (head, tail) = text.split_at(at);
    let tail = tail.trim_start_matches(|character: char| character.is_ascii_digit());
    let text = |text: &str| Piece::Text(text.to_owned());
    Ok(vec![text(head), Piece::Mark(Mark::Through), text(tail)])
}
