//! Policies that are checked, tested and measured, beside those in force.

use shoal::v1 as api;
use shoal_policy::trial::{TrialFile, TrialResult};

use super::{choose, show};
use crate::{
    policy_host::{
        PolicyChoice, PolicyRefusal,
        workbench::{self, BenchRow, WorkbenchError},
    },
    rpc::{context::Context, status::Refusal},
};

/// The most test files of one call.
const FILES_MAX: usize = 64;
/// The most bytes of them together.
const FILES_LEN_MAX: usize = 1024 * 1024;
/// The longest name of one, bytes.
const NAME_LEN_MAX: usize = 255;

pub(super) async fn validate(
    this: &Context,
    request: api::ValidatePolicyRequest,
) -> Result<api::ValidatePolicyResponse, Refusal> {
    let choice = choose::of_source(request.policy)?;
    let checked = this.workbench.run(move || workbench::check(&choice)).await?;
    Ok(api::ValidatePolicyResponse {
        errors: checked.errors.into_iter().map(show::issue).collect(),
        warnings: checked.warnings.into_iter().map(show::issue).collect(),
        declared_name: checked.declared_name,
        description: checked.description,
        hooks: checked.functions,
        params: checked.params.iter().map(show::param).collect(),
    })
}

pub(super) async fn test(
    this: &Context,
    request: api::TestPolicyRequest,
) -> Result<api::TestPolicyResponse, Refusal> {
    let policy = match request.policy {
        None => None,
        Some(policy) => match choose::of_source(Some(policy))? {
            PolicyChoice::Script(script) => Some(script),
            PolicyChoice::Native(native) => {
                let fault = format!("'{native}' is a native policy; tests are for scripts");
                return Err(Refusal::field("policy", fault));
            }
        },
    };
    let files = files(request.files)?;
    let results = this.workbench.run(move || workbench::test(policy.as_ref(), &files)).await?;
    Ok(api::TestPolicyResponse { results: results.into_iter().map(result).collect() })
}

fn files(files: Vec<api::TestFile>) -> Result<Vec<TrialFile>, Refusal> {
    if files.is_empty() {
        return Err(Refusal::field("files", "is empty"));
    }
    if files.len() > FILES_MAX {
        return Err(Refusal::field("files", format!("{} files, above {FILES_MAX}", files.len())));
    }
    let len: usize = files.iter().map(|file| file.source.len()).sum();
    if len > FILES_LEN_MAX {
        return Err(Refusal::field("files", format!("{len} bytes, above {FILES_LEN_MAX}")));
    }
    let file = |file: api::TestFile| {
        if file.name.len() > NAME_LEN_MAX || file.name.chars().any(char::is_control) {
            let fault = format!("is longer than {NAME_LEN_MAX} bytes or has control characters");
            return Err(Refusal::field("files.name", fault));
        }
        Ok(TrialFile { name: file.name, source: file.source })
    };
    files.into_iter().map(file).collect()
}

fn result(result: TrialResult) -> api::TestResult {
    api::TestResult {
        file: result.file,
        name: result.name,
        passed: result.passed,
        message: result.message,
        line: result.line.unwrap_or(0),
        report: result.report,
        spent_us: show::micros(result.spent),
    }
}

pub(super) async fn bench(
    this: &Context,
    request: api::BenchPolicyRequest,
) -> Result<api::BenchPolicyResponse, Refusal> {
    let choice = choose::of_source(request.policy)?;
    let name = choice.name().to_owned();
    let rows = this.workbench.run(move || workbench::bench(&choice)).await?;
    let rows = rows.map_err(|errors| {
        let reports = errors.iter().map(|error| error.report.clone()).collect::<Vec<_>>();
        let report = format!("policy '{name}' was not loaded\n{}", reports.join("\n"));
        PolicyRefusal { errors, report }
    })?;
    Ok(api::BenchPolicyResponse { rows: rows.iter().map(bench_row).collect() })
}

fn bench_row(row: &BenchRow) -> api::BenchRow {
    let nanos = |span: std::time::Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    api::BenchRow {
        candidates: row.candidates as u32,
        decisions: row.decisions as u32,
        p50_ns: nanos(row.p50),
        p99_ns: nanos(row.p99),
    }
}

impl From<WorkbenchError> for Refusal {
    fn from(error: WorkbenchError) -> Self {
        Self::internal(error.to_string())
    }
}
