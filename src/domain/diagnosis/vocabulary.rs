//! The words of `when`: every variable, field and function that an expression may use.
//!
//! One table is the source of three things that must agree: what [`super::view`] provides (a test
//! holds them against each other), what [`super::typing`] accepts, and `docs/FACTS.md`.

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `true` or `false`.
    Truth,
    /// A whole number.
    Whole,
    /// A number with a fraction.
    Number,
    /// Any text.
    Text,
    /// One of a few texts.
    OneOf(&'static [&'static str]),
    /// A length of time.
    Duration,
    /// A point in time.
    Instant,
    /// Texts by free names, such as labels.
    Texts,
    /// Numbers by the names that the policy's `queries` give them.
    Queries,
    /// A list of equals.
    List(&'static Self),
    /// An object with these fields.
    Object(&'static [Field]),
    /// Such an object, or `null` when there is none.
    Nullable(&'static [Field]),
}

/// One field of an object.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub shape: Shape,
    /// Whether it can be missing.
    pub presence: Presence,
    /// For people.
    pub doc: &'static str,
}

/// Whether a field can be missing. Reading a missing field makes the expression unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Always there.
    Always,
    /// Missing at times: ask with `has()` first.
    Sometimes,
}

/// What a variable says when the policy's selector found several workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Several {
    /// It does not depend on the workload.
    Same,
    /// Those of all workloads together.
    Union,
    /// It is unknown: `targets` has them one by one.
    Unknown,
}

/// One variable.
#[derive(Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub shape: Shape,
    /// With several workloads.
    pub several: Several,
    /// For people.
    pub doc: &'static str,
}

const fn field(name: &'static str, shape: Shape, doc: &'static str) -> Field {
    Field { name, shape, presence: Presence::Always, doc }
}

const fn sometimes(name: &'static str, shape: Shape, doc: &'static str) -> Field {
    Field { name, shape, presence: Presence::Sometimes, doc }
}

const fn variable(
    name: &'static str,
    shape: Shape,
    several: Several,
    doc: &'static str,
) -> Variable {
    Variable { name, shape, several, doc }
}

/// What `rollout.state` can be.
pub const ROLLOUT_STATES: &[&str] =
    &["complete", "progressing", "stuck", "unobserved", "untracked"];
/// What the health of a revision can be.
pub const HEALTHS: &[&str] = &["available", "verified", "served", "failing", "unknown"];
/// Who can manage an object.
pub const MANAGERS: &[&str] = &["ArgoCD", "Flux", "Helm", "Controller"];
const KINDS: &[&str] = &["Deployment", "StatefulSet", "DaemonSet"];
const STRATEGIES: &[&str] = &["RollingUpdate", "Recreate", "OnDelete"];
const PHASES: &[&str] = &["Pending", "Running", "Succeeded", "Failed", "Unknown"];

const RESOURCES: &[Field] = &[
    sometimes("cpu", Shape::Text, "such as `500m`; compare with `quantity()`"),
    sometimes("memory", Shape::Text, "such as `512Mi`; compare with `quantity()`"),
];

const REPLICAS: &[Field] = &[
    field("desired", Shape::Whole, "`spec.replicas`, or the nodes that a DaemonSet should run on"),
    field("current", Shape::Whole, "pods that exist"),
    field("updated", Shape::Whole, "pods of the newest template"),
    field("ready", Shape::Whole, "pods that are ready"),
    field("available", Shape::Whole, "pods that have been ready for `minReadySeconds`"),
];

const TEMPLATE_CONTAINER: &[Field] = &[
    field("name", Shape::Text, "its name"),
    field("image", Shape::Text, "its image, as written in the template"),
    field("limits", Shape::Object(RESOURCES), "its limits"),
    field("requests", Shape::Object(RESOURCES), "its requests"),
];

const ROLLOUT: &[Field] = &[
    field("state", Shape::OneOf(ROLLOUT_STATES), "judged as `kubectl rollout status` does"),
    field("message", Shape::Text, "what is still missing; empty when complete"),
    sometimes(
        "age",
        Shape::Duration,
        "since the newest revision was made; missing when the history does not tell",
    ),
];

const TARGET: &[Field] = &[
    field("kind", Shape::OneOf(KINDS), "its kind"),
    field("namespace", Shape::Text, "its namespace"),
    field("name", Shape::Text, "its name"),
    field("generation", Shape::Whole, "`metadata.generation`: changes whenever its spec does"),
    field("paused", Shape::Truth, "`spec.paused` of a Deployment"),
    field("strategy", Shape::OneOf(STRATEGIES), "how its pods are replaced"),
    field("replicas", Shape::Object(REPLICAS), "how many pods there are"),
    field("labels", Shape::Texts, "its labels"),
    field("annotations", Shape::Texts, "its annotations"),
    field(
        "containers",
        Shape::List(&Shape::Object(TEMPLATE_CONTAINER)),
        "the containers of its pod template, init containers left out",
    ),
    field("rollout", Shape::Object(ROLLOUT), "where its latest rollout stands"),
];

const REVISION: &[Field] = &[
    field("number", Shape::Whole, "Kubernetes' number; moves when an old template is used again"),
    field("current", Shape::Truth, "the template that the workload has now"),
    field("age", Shape::Duration, "since it was made"),
    field("images", Shape::List(&Shape::Text), "the images of its containers"),
    field(
        "health",
        Shape::OneOf(HEALTHS),
        "`available`: all its pods are available now; `verified`: a resolution was met under it; `served`: it was in service until its successor came; `failing`: it has pods and they fail",
    ),
    sometimes(
        "servedFor",
        Shape::Duration,
        "how long it was in service; there when `health` is `served`",
    ),
    field("changeCause", Shape::Text, "`kubernetes.io/change-cause`, or empty"),
];

const WAITING: &[Field] = &[
    field("reason", Shape::Text, "such as `CrashLoopBackOff`; empty when it does not wait"),
    field("message", Shape::Text, "the kubelet's words, or empty"),
];

const TERMINATION: &[Field] = &[
    field("reason", Shape::Text, "such as `OOMKilled`; empty when it did not end"),
    field("exitCode", Shape::Whole, "its exit code; -1 when it did not end"),
    field("message", Shape::Text, "the termination message, or empty"),
    sometimes("age", Shape::Duration, "since it ended; missing when it did not end"),
];

const CONTAINER: &[Field] = &[
    field("name", Shape::Text, "its name"),
    field("init", Shape::Truth, "an init container"),
    field("image", Shape::Text, "its image"),
    field("ready", Shape::Truth, "passes its readiness probe"),
    field("restarts", Shape::Whole, "how often it was restarted"),
    field("running", Shape::Truth, "runs now"),
    field("waiting", Shape::Object(WAITING), "why it does not run yet"),
    field(
        "terminated",
        Shape::Object(TERMINATION),
        "how it ended, when it has ended and was not started again",
    ),
    field("lastTerminated", Shape::Object(TERMINATION), "how it ended the time before"),
    field("limits", Shape::Object(RESOURCES), "its limits"),
    field("requests", Shape::Object(RESOURCES), "its requests"),
];

const POD: &[Field] = &[
    field("name", Shape::Text, "its name"),
    field("phase", Shape::OneOf(PHASES), "`status.phase`"),
    field("reason", Shape::Text, "such as `Evicted`, or empty"),
    field("ready", Shape::Truth, "condition `Ready` is true"),
    field("terminating", Shape::Truth, "is being deleted"),
    field("restarts", Shape::Whole, "of all its containers together"),
    field("age", Shape::Duration, "since it was made"),
    field("node", Shape::Text, "the node it is bound to, or empty"),
    field("unschedulable", Shape::Text, "why it cannot be scheduled, or empty"),
    field(
        "containers",
        Shape::List(&Shape::Object(CONTAINER)),
        "its containers, init containers first",
    ),
];

const EVENT: &[Field] = &[
    field("type", Shape::OneOf(&["Normal", "Warning"]), "how serious"),
    field("reason", Shape::Text, "such as `BackOff`"),
    field("regarding", Shape::Text, "what it is about, `Kind/name`"),
    field("note", Shape::Text, "the text"),
    field("count", Shape::Whole, "how often"),
    sometimes("age", Shape::Duration, "since it was last seen"),
];

const LOG: &[Field] = &[
    field("pod", Shape::Text, "the pod"),
    field("container", Shape::Text, "the container"),
    field("previous", Shape::Truth, "from the run before the present one"),
    field("text", Shape::Text, "its last lines, secrets masked"),
];

const ALERT: &[Field] = &[
    field("name", Shape::Text, "the label `alertname`"),
    field("status", Shape::OneOf(&["firing", "resolved"]), "whether it fires"),
    field("startsAt", Shape::Instant, "when this firing began"),
];

const AUTOSCALER: &[Field] = &[
    field("name", Shape::Text, "its name"),
    field("min", Shape::Whole, "`minReplicas`"),
    field("max", Shape::Whole, "`maxReplicas`"),
];

const VERTICAL: &[Field] = &[
    field("name", Shape::Text, "its name"),
    field("mode", Shape::Text, "its update mode, such as `Auto`"),
];

const BUDGET: &[Field] = &[
    field("name", Shape::Text, "its name"),
    field("disruptionsAllowed", Shape::Whole, "how many pods may go now"),
];

const OWNER: &[Field] = &[
    field("manager", Shape::OneOf(MANAGERS), "who"),
    field("name", Shape::Text, "the application, Kustomization, release or controller"),
];

const NODE: &[Field] = &[
    field("name", Shape::Text, "its name"),
    field("ready", Shape::Truth, "condition `Ready` is true"),
    field(
        "trouble",
        Shape::List(&Shape::Text),
        "conditions that are not as they should be, such as `MemoryPressure`",
    ),
];

/// Every variable.
pub const VARIABLES: &[Variable] = &[
    variable("now", Shape::Instant, Several::Same, "The time of the diagnosis."),
    variable("alert", Shape::Object(ALERT), Several::Same, "The alert that opened the incident."),
    variable("labels", Shape::Texts, Several::Same, "The alert's labels."),
    variable("annotations", Shape::Texts, Several::Same, "The alert's annotations."),
    variable(
        "target",
        Shape::Object(TARGET),
        Several::Unknown,
        "The workload that the policy's target names.",
    ),
    variable(
        "targets",
        Shape::List(&Shape::Object(TARGET)),
        Several::Same,
        "All workloads that the policy's target names.",
    ),
    variable(
        "related",
        Shape::List(&Shape::Object(TARGET)),
        Several::Same,
        "Workloads that actions of the policy name by their own `on`.",
    ),
    variable(
        "rollout",
        Shape::Object(ROLLOUT),
        Several::Unknown,
        "Where the target's latest rollout stands.",
    ),
    variable(
        "revisions",
        Shape::List(&Shape::Object(REVISION)),
        Several::Unknown,
        "The rollout history, newest first. Empty when there is none.",
    ),
    variable(
        "pods",
        Shape::List(&Shape::Object(POD)),
        Several::Union,
        "The pods, of all revisions. Empty when there are none.",
    ),
    variable(
        "events",
        Shape::List(&Shape::Object(EVENT)),
        Several::Union,
        "Recent Kubernetes events about the target, its pods and its ReplicaSets, newest first.",
    ),
    variable(
        "logs",
        Shape::List(&Shape::Object(LOG)),
        Several::Union,
        "The last lines of containers that ended.",
    ),
    variable(
        "autoscaler",
        Shape::Nullable(AUTOSCALER),
        Several::Unknown,
        "The HorizontalPodAutoscaler of the target; `null` when there is none.",
    ),
    variable(
        "verticalAutoscaler",
        Shape::Nullable(VERTICAL),
        Several::Unknown,
        "The VerticalPodAutoscaler of the target; `null` when there is none.",
    ),
    variable(
        "budgets",
        Shape::List(&Shape::Object(BUDGET)),
        Several::Union,
        "The PodDisruptionBudgets that cover the pods.",
    ),
    variable(
        "owners",
        Shape::List(&Shape::Object(OWNER)),
        Several::Union,
        "Who else manages the object and would undo a change to it.",
    ),
    variable(
        "nodes",
        Shape::List(&Shape::Object(NODE)),
        Several::Union,
        "The nodes that the pods run on.",
    ),
    variable(
        "queries",
        Shape::Queries,
        Several::Same,
        "The answers to the policy's `queries`, by name. A query without data is missing: ask with `has(queries.NAME)`.",
    ),
];

/// A function and how it is called.
#[derive(Debug)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// An example with its meaning.
    pub doc: &'static str,
}

const fn function(name: &'static str, doc: &'static str) -> Function {
    Function { name, doc }
}

/// Every function, besides the operators and the macros.
pub const FUNCTIONS: &[Function] = &[
    function("size", "`size(pods)`, `size(p.name)`: how many elements or characters"),
    function("contains", "`l.text.contains(\"rate_limit\")`"),
    function("startsWith", "`p.name.startsWith(\"agent-\")`"),
    function("endsWith", "`t.name.endsWith(\"-deployment\")`"),
    function(
        "matches",
        "`l.text.matches(\"(?i)too many requests\")`: finds an RE2 regular expression anywhere in the text",
    ),
    function("duration", "`duration(\"30m\")`: a length of time"),
    function("timestamp", "`timestamp(\"2026-11-22T03:00:00Z\")`: a point in time"),
    function(
        "quantity",
        "`quantity(c.limits.memory) < quantity(\"2Gi\")`: the amount as a number, in bytes or cores",
    ),
    function("int", "`int(labels.code)`: a whole number from a text"),
    function("double", "`double(labels.ratio)`: a number from a text"),
    function("string", "`string(p.restarts)`: a text"),
    function(
        "getHours",
        "`now.getHours(\"Europe/Berlin\")`: hour of the day, also `getMinutes`, `getDayOfWeek` (0 is Sunday)",
    ),
    function("getMinutes", "see `getHours`"),
    function("getDayOfWeek", "see `getHours`"),
    function("orValue", "`labels.?team.orValue(\"none\")`: what else to take when it is missing"),
    function("hasValue", "`labels.?team.hasValue()`"),
];

/// The macros: they look like functions and bind names.
pub const MACROS: &[Function] = &[
    function("has", "`has(c.limits.memory)`: the field is there"),
    function("exists", "`pods.exists(p, !p.ready)`: some element"),
    function("all", "`pods.all(p, p.ready)`: every element; true for an empty list"),
    function("exists_one", "`pods.exists_one(p, p.ready)`: exactly one element"),
    function("filter", "`pods.filter(p, p.restarts > 3)`: those elements"),
    function("map", "`pods.map(p, p.name)`: something of each element"),
];

impl Shape {
    /// For people: `text`, `list of objects`.
    pub fn describe(self) -> String {
        match self {
            Self::Truth => "true or false".to_owned(),
            Self::Whole => "whole number".to_owned(),
            Self::Number => "number".to_owned(),
            Self::Text => "text".to_owned(),
            Self::OneOf(values) => {
                values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ")
            }
            Self::Duration => "duration".to_owned(),
            Self::Instant => "timestamp".to_owned(),
            Self::Texts => "texts by name".to_owned(),
            Self::Queries => "numbers by name".to_owned(),
            Self::List(Self::Object(_)) => "list of objects".to_owned(),
            Self::List(inner) => format!("list of {}", inner.describe()),
            Self::Object(_) => "object".to_owned(),
            Self::Nullable(_) => "object or `null`".to_owned(),
        }
    }

    pub(super) fn fields(self) -> &'static [Field] {
        match self {
            Self::Object(fields) | Self::Nullable(fields) => fields,
            Self::List(inner) => inner.fields(),
            Self::Truth
            | Self::Whole
            | Self::Number
            | Self::Text
            | Self::OneOf(_)
            | Self::Duration
            | Self::Instant
            | Self::Texts
            | Self::Queries => &[],
        }
    }
}
