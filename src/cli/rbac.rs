//! `orderly rbac`: the rights that the policies need, as manifests.
//!
//! Two service accounts: one that only looks, one that acts. What is printed is what `orderly doctor`
//! asks the API server about, so the two cannot drift apart.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::rights;
use crate::clock::{SharedClock, SystemClock};
use crate::config::{Config, PolicyResources};
use crate::domain::policy::problem::Severity;
use crate::domain::policy::spec::Mode;
use crate::kubernetes::access::Access;
use crate::service;
use crate::service::policy_resources::kinds;

const GROUP: &str = "rbac.authorization.k8s.io";

/// Print the rights that policies need, as manifests for kubectl
#[derive(Args, Debug)]
pub struct RbacArgs {
    /// Directories (searched for .yaml and .yml) or single files [default: policies, when no custom
    /// resources are asked for]
    pub paths: Vec<PathBuf>,
    /// And the custom resources of these kinds, with the rights to follow them
    #[arg(long, value_name = "KINDS", value_enum, default_value_t)]
    pub policy_resources: PolicyResources,
    /// The kubeconfig to read them with
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Where Orderly itself runs
    #[arg(long, default_value = "orderly")]
    pub namespace: String,
    /// The service account that looks
    #[arg(long, default_value = "orderly-reader")]
    pub reader: String,
    /// The service account that acts
    #[arg(long, default_value = "orderly-writer")]
    pub writer: String,
    /// How to print them
    #[arg(long, value_enum, default_value_t = Manifests::Yaml)]
    pub format: Manifests,
}

/// How manifests are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Manifests {
    /// A stream of documents
    Yaml,
    /// One List
    Json,
}

/// Prints them.
///
/// # Errors
/// When a policy cannot be used: rights for half of the policies are not what was asked for.
pub fn run(args: &RbacArgs) -> anyhow::Result<ExitCode> {
    let mut config = Config { policies: args.paths.clone(), ..Config::default() };
    config.policy_resources = Some(args.policy_resources);
    config.kubernetes.kubeconfig.clone_from(&args.kubeconfig);
    let kinds = kinds(&config);
    if config.policies.is_empty() && kinds.is_empty() {
        config.policies.push(PathBuf::from("policies"));
    }
    let clock: SharedClock = Arc::new(SystemClock);
    let store = super::block_on(async { Ok(service::policies_once(&config, &clock).await) })?;
    let status = store.status();
    let errors = status.diagnostics.iter().filter(|found| found.severity == Severity::Error);
    let judged = store.judged();
    let paths: Vec<_> =
        judged.iter().map(|it| it.resource.document.path.display().to_string()).collect();
    // A file is what was asked for; an object of the cluster is somebody's, whose mistake must not
    // keep the others from their rights.
    let (objects, files): (Vec<_>, Vec<_>) = errors.partition(|found| paths.contains(&found.file));
    for found in objects {
        writeln!(std::io::stderr().lock(), "orderly: left out: {}", found.one_line())?;
    }
    if !files.is_empty() {
        let bad: Vec<_> = files.iter().map(|found| found.one_line()).collect();
        bail!("a policy cannot be used:\n{}", bad.join("\n"));
    }
    let policies = store.current();
    if policies.is_empty() && kinds.is_empty() {
        bail!("there is no policy in {}", told(&config.policies));
    }
    let manifests = manifests(
        args,
        &rights::reading(&policies, &kinds),
        // Which ceiling a configuration sets is not known here; a policy that is off needs nothing.
        &rights::writing(&policies, Mode::Auto, &kinds),
    );
    let mut out = std::io::stdout().lock();
    match args.format {
        Manifests::Yaml => {
            writeln!(out, "# orderly rbac {}", told(&config.policies))?;
            for manifest in manifests {
                write!(out, "---\n{}", serde_saphyr::to_string(&manifest)?)?;
            }
        }
        Manifests::Json => {
            let list = json!({"apiVersion": "v1", "kind": "List", "items": manifests});
            writeln!(out, "{list:#}")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn told(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    paths.join(" ")
}

fn manifests(args: &RbacArgs, reading: &[Access], writing: &[Access]) -> Vec<Value> {
    let mut manifests: Vec<_> = [&args.reader, &args.writer]
        .into_iter()
        .map(|name| {
            json!({
                "apiVersion": "v1", "kind": "ServiceAccount",
                "metadata": {"name": name, "namespace": args.namespace},
            })
        })
        .collect();
    for (account, needed) in [(&args.reader, reading), (&args.writer, writing)] {
        let mut places: BTreeMap<Option<&str>, Vec<&Access>> = BTreeMap::new();
        for access in needed {
            places.entry(access.namespace.as_deref()).or_default().push(access);
        }
        for (place, needed) in places {
            manifests.extend(role(args, account, place, &needed));
        }
    }
    manifests
}

/// A role and who has it; in the whole cluster when there is no place.
fn role(args: &RbacArgs, account: &str, place: Option<&str>, needed: &[&Access]) -> [Value; 2] {
    let (kind, mut metadata) = match place {
        Some(namespace) => ("Role", json!({"name": account, "namespace": namespace})),
        None => ("ClusterRole", json!({"name": account})),
    };
    metadata["labels"] = json!({"app.kubernetes.io/name": "orderly"});
    let version = format!("{GROUP}/v1");
    let role = json!({
        "apiVersion": version, "kind": kind, "metadata": metadata, "rules": rules(needed),
    });
    let binding = json!({
        "apiVersion": version, "kind": format!("{kind}Binding"), "metadata": metadata,
        "roleRef": {"apiGroup": GROUP, "kind": kind, "name": account},
        "subjects": [
            {"kind": "ServiceAccount", "name": account, "namespace": args.namespace},
        ],
    });
    [role, binding]
}

/// One rule for all resources of a group that need the same verbs.
fn rules(needed: &[&Access]) -> Vec<Value> {
    let mut verbs: BTreeMap<(&str, String), BTreeSet<&str>> = BTreeMap::new();
    for access in needed {
        let part = access.subresource.map_or(String::new(), |part| format!("/{part}"));
        let resource = format!("{}{part}", access.resource);
        verbs.entry((access.group, resource)).or_default().insert(access.verb);
    }
    let mut alike: BTreeMap<(&str, BTreeSet<&str>), Vec<String>> = BTreeMap::new();
    for ((group, resource), verbs) in verbs {
        alike.entry((group, verbs)).or_default().push(resource);
    }
    let rule = |((group, verbs), resources)| json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
    alike.into_iter().map(rule).collect()
}
