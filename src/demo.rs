//! The demo (comes with the fleet).
pub mod fleet;
/// Flags of the demo.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {}
/// x
pub async fn run(
    _settings: Settings,
    _stop: tokio_util::sync::CancellationToken,
) -> anyhow::Result<()> {
    Ok(())
}
