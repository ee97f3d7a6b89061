//! Logs to standard error, for people or for machines, and traces to an OTLP collector when one is
//! configured. A collector that is away delays and breaks nothing: spans are dropped.

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::runtime;
use opentelemetry_sdk::trace::SdkTracerProvider;
use opentelemetry_sdk::trace::span_processor_with_async_runtime::BatchSpanProcessor;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{LogFormat, LogSpec, OtlpSpec};

/// Under OTLP's own path (OpenTelemetry's specification of the HTTP exporter).
const TRACES_PATH: &str = "v1/traces";
/// A batch of spans that is not taken by then is dropped.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// The last spans are given so long when the process stops.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// Spans of these are exported; the exporter's own client would otherwise trace itself.
const TRACED: &str = "off,orderly=info";

/// Why nothing can be logged or traced.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not one.
    #[error(
        "`{filter}` is not a log filter; write for example `info` or `info,orderly::http=debug`"
    )]
    Filter {
        /// As given.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The exporter cannot be built.
    #[error("cannot send traces to `{endpoint}`: {why}")]
    Exporter {
        /// Where to.
        endpoint: String,
        /// Why not.
        why: String,
    },
    /// Somebody else has installed a subscriber.
    #[error("logging is set up already")]
    Twice,
}

/// Keeps telemetry going; to be shut down at the end.
#[derive(Debug)]
#[must_use = "the last spans are lost unless it is shut down"]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Installs logs and traces for the whole process. Needs a running tokio runtime when traces
    /// are configured: the exporter's client works on it.
    pub fn install(log: &LogSpec, otlp: Option<&OtlpSpec>) -> Result<Self, TelemetryError> {
        let logs = logs(log, std::io::stderr)?;
        let traces = otlp.map(provider).transpose()?;
        let spans = traces.as_ref().map(|provider| {
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("orderly"))
                .with_filter(EnvFilter::new(TRACED))
        });
        tracing_subscriber::registry()
            .with(logs)
            .with(spans)
            .try_init()
            .map_err(|_already| TelemetryError::Twice)?;
        Ok(Self { traces })
    }

    /// Sends the last spans. Logs a failure; there is nothing better to do with it.
    pub async fn shutdown(self) {
        let Some(provider) = self.traces else { return };
        // It blocks until the batch processor, a task of this runtime, has answered.
        let flushing = tokio::task::spawn_blocking(move || provider.shutdown());
        match tokio::time::timeout(FLUSH_TIMEOUT, flushing).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!(%error, "the last traces were not sent"),
            Ok(Err(_)) | Err(_) => tracing::warn!("the last traces were not sent in time"),
        }
    }
}

/// The layer that writes log lines. Every line carries the fields of the spans it is in, so that an
/// incident's id and target are in each line about it.
pub fn logs<S, W>(
    log: &LogSpec,
    writer: W,
) -> Result<Box<dyn Layer<S> + Send + Sync>, TelemetryError>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(&log.level)
        .map_err(|source| TelemetryError::Filter { filter: log.level.clone(), source })?;
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    Ok(match log.format {
        LogFormat::Text => {
            let colour = crate::terminal::colour(&std::io::stderr());
            layer.with_ansi(colour).with_filter(filter).boxed()
        }
        LogFormat::Json => layer
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(true)
            .with_filter(filter)
            .boxed(),
    })
}

fn provider(otlp: &OtlpSpec) -> Result<SdkTracerProvider, TelemetryError> {
    let failed =
        |why: String| TelemetryError::Exporter { endpoint: otlp.endpoint.to_string(), why };
    let client = crate::outbound::client(otlp.endpoint.url(), None)
        .map_err(|error| failed(error.to_string()))?;
    let base = otlp.endpoint.to_string();
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_endpoint(format!("{}/{TRACES_PATH}", base.trim_end_matches('/')))
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .map_err(|error| failed(error.to_string()))?;
    // The default batch processor runs on a thread of its own, where the exporter's client finds no
    // runtime and sends nothing.
    let processor = BatchSpanProcessor::builder(exporter, runtime::Tokio).build();
    let resource = Resource::builder()
        .with_service_name("orderly")
        .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(SdkTracerProvider::builder().with_span_processor(processor).with_resource(resource).build())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn written(log: &LogSpec) -> String {
        let page = Page::default();
        let copy = page.clone();
        let layer = logs::<tracing_subscriber::Registry, _>(log, move || copy.clone()).unwrap();
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("incident", id = "0123456789ab", target = "a/b");
            span.in_scope(|| tracing::info!(step = 2, "done"));
            tracing::debug!("too detailed");
        });
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn every_line_carries_the_incident_in_both_formats() {
        let text = written(&LogSpec { format: LogFormat::Text, level: "info".to_owned() });
        assert!(text.contains("0123456789ab") && text.contains("done"), "{text}");
        assert!(!text.contains("too detailed"), "{text}");
        let json = written(&LogSpec { format: LogFormat::Json, level: "info".to_owned() });
        let line: serde_json::Value = serde_json::from_str(json.trim()).unwrap();
        assert_eq!(line["span"]["id"], "0123456789ab");
        assert_eq!(line["span"]["target"], "a/b");
        assert_eq!((&line["message"], &line["step"]), (&"done".into(), &2.into()));
    }

    #[test]
    fn a_bad_filter_says_how_a_good_one_looks() {
        let log = LogSpec { format: LogFormat::Text, level: "orderly=loud=3".to_owned() };
        let error =
            logs::<tracing_subscriber::Registry, _>(&log, std::io::sink).err().unwrap().to_string();
        assert!(error.contains("orderly=loud=3") && error.contains("info"), "{error}");
    }
}
