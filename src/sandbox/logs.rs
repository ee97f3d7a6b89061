//! Container logs: invented lines that follow from the pod, its annotations and the time.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::answer::Answer;
use super::cluster::Cluster;
use super::error::ApiError;
use super::object::{annotation, hash32, items, name, namespace, number, text, time, uid};
use super::request::Request;
use super::resources::PODS;

/// Lines that are made for one answer; a container of days would else write millions.
const MOST_LINES: i64 = 20_000;
/// What a container writes before it crashes, when its pod does not say otherwise.
const CRASH: [&str; 6] = [
    "level=fatal msg=\"cannot connect to database: dial tcp 10.96.44.7:5432: connect: connection refused\"",
    "panic: runtime error: invalid memory address or nil pointer dereference",
    "",
    "goroutine 1 [running]:",
    "main.main()",
    "\t/src/main.go:42 +0x1d",
];

pub(super) fn answer(
    cluster: &Cluster,
    request: &Request,
    now: Timestamp,
) -> Result<Answer, ApiError> {
    let target = &request.target;
    let pod = cluster.store.get(&PODS, &target.namespace, &target.name);
    let pod = pod.ok_or_else(|| ApiError::not_found(&PODS, &target.name))?;
    let container = container_of(pod, request.parameter("container"))?;
    let status = items(pod, "/status/containerStatuses")
        .iter()
        .chain(items(pod, "/status/initContainerStatuses"))
        .find(|status| text(status, "/name") == container);
    let pod_name = name(pod);
    let Some(status) = status else {
        let message = format!("container \"{container}\" in pod \"{pod_name}\" is not available");
        return Err(ApiError::bad_request(message));
    };
    let last = status.pointer("/lastState/terminated");
    let run = if request.parameter("previous") == "true" {
        let Some(last) = last else {
            let message = format!(
                "previous terminated container \"{container}\" in pod \"{pod_name}\" not found"
            );
            return Err(ApiError::bad_request(message));
        };
        Run::ended(pod, last)
    } else if let Some(since) = time(text(status, "/state/running/startedAt")) {
        Run { start: since, end: None, tail: Vec::new() }
    } else if let Some(end) = status.pointer("/state/terminated").or(last) {
        Run::ended(pod, end)
    } else {
        let reason = match text(status, "/state/waiting/reason") {
            "ErrImagePull" => "image can't be pulled",
            "ImagePullBackOff" => "trying and failing to pull image",
            other => other,
        };
        let message = format!(
            "container \"{container}\" in pod \"{pod_name}\" is waiting to start: {reason}"
        );
        return Err(ApiError::bad_request(message));
    };
    Ok(Answer::text(200, run.render(pod, container, request, now)))
}

fn container_of<'a>(pod: &'a Value, wanted: &str) -> Result<&'a str, ApiError> {
    let names: Vec<&str> = items(pod, "/spec/containers")
        .iter()
        .chain(items(pod, "/spec/initContainers"))
        .map(|container| text(container, "/name"))
        .collect();
    let several = items(pod, "/spec/containers").len() > 1;
    match names.iter().find(|name| wanted.is_empty() || **name == wanted) {
        Some(_) if wanted.is_empty() && several => Err(ApiError::bad_request(format!(
            "a container name must be specified for pod {}, choose one of: [{}]",
            name(pod),
            names.join(" ")
        ))),
        Some(found) => Ok(found),
        None => Err(ApiError::bad_request(format!(
            "container {wanted} is not valid for pod {}",
            name(pod)
        ))),
    }
}

/// One run of a container.
struct Run {
    start: Timestamp,
    end: Option<Timestamp>,
    tail: Vec<String>,
}

impl Run {
    fn ended(pod: &Value, end: &Value) -> Self {
        let code = number(end, "/exitCode").unwrap_or(0);
        let tail = match annotation(pod, "fake/crash-log") {
            Some(given) => given.lines().map(str::to_owned).collect(),
            None if code == 0 || text(end, "/reason") == "OOMKilled" => Vec::new(),
            None if code == 137 => vec!["level=info msg=\"received signal: killed\"".into()],
            None => CRASH.iter().map(|line| (*line).to_owned()).collect(),
        };
        let finished = time(text(end, "/finishedAt"));
        let start = time(text(end, "/startedAt")).or(finished).unwrap_or(Timestamp::UNIX_EPOCH);
        Self { start, end: finished, tail }
    }

    fn render(&self, pod: &Value, container: &str, request: &Request, now: Timestamp) -> String {
        let until = self.end.unwrap_or(now);
        let regular = until.duration_since(self.start).as_secs().max(0) + 1;
        let tail = i64::try_from(self.tail.len()).unwrap_or(0);
        let mut first = (regular + tail - MOST_LINES).max(0);
        if let Ok(seconds) = request.parameter("sinceSeconds").parse::<i64>() {
            let skipped = regular - 1 - seconds.max(0) + until.duration_since(now).as_secs().abs();
            first = first.max(skipped);
        }
        if let Some(since) = time(request.parameter("sinceTime")) {
            first = first.max(since.duration_since(self.start).as_secs());
        }
        if let Ok(lines) = request.parameter("tailLines").parse::<i64>() {
            first = first.max(regular + tail - lines.max(0));
        }
        let limit = request.parameter("limitBytes").parse().unwrap_or(usize::MAX);
        let stamps = request.parameter("timestamps") == "true";
        let mut output = String::new();
        for index in first..regular + tail {
            let at = self.start.saturating_add(SignedDuration::from_secs(index.min(regular - 1)));
            let at = at.unwrap_or(self.start);
            if stamps {
                output.push_str(&at.strftime("%Y-%m-%dT%H:%M:%S.000000000Z ").to_string());
            }
            match usize::try_from(index - regular) {
                Ok(place) => output.push_str(self.tail.get(place).map_or("", String::as_str)),
                Err(_) => output.push_str(&regular_line(pod, container, index, at)),
            }
            output.push('\n');
            if output.len() >= limit {
                break;
            }
        }
        if output.len() > limit {
            let cut = (0..=limit).rev().find(|at| output.is_char_boundary(*at)).unwrap_or(0);
            output.truncate(cut);
        }
        output
    }
}

fn regular_line(pod: &Value, container: &str, index: i64, at: Timestamp) -> String {
    if let Some(given) = annotation(pod, "fake/log-line") {
        return given.replace("{i}", &index.to_string());
    }
    let hash = hash32(&format!("{}/{}/{container}/{index}", namespace(pod), uid(pod)));
    let at = at.strftime("%Y-%m-%dT%H:%M:%S.000Z");
    if index == 0 {
        return format!("ts={at} level=info msg=\"starting {container}\" seq=0");
    }
    let (level, status) = match hash {
        hash if hash % 50 == 0 => ("error", 500),
        hash if hash % 17 == 0 => ("warn", 200),
        _ => ("info", 200),
    };
    format!(
        "ts={at} level={level} msg=\"handled request\" seq={index} path=/api/items/{} status={status} ms={}",
        hash % 1000,
        hash % 250
    )
}
