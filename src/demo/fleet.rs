//! The simulated fleet.
/// Flags of the fleet.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {}
/// x
pub async fn run(
    _settings: Settings,
    _stop: tokio_util::sync::CancellationToken,
) -> anyhow::Result<()> {
    Ok(())
}
