//! A broker with its controller in the same process, and a folder as metadata store.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use controller_host::{ControllerHandle, Ending, HostState, Loopback, SharedToken, Single, serve_control};
use model::{BrokerId, config};

use crate::args::StandaloneArgs;
use crate::broker::{self, Opened, Role};
use crate::controller_link::Controller;
use crate::error::StartError;

mod metadata_log;

/// The only broker, or the first.
const ID: BrokerId = BrokerId(0);

/// Runs until `stop` is ready.
pub async fn run(args: StandaloneArgs, stop: impl Future<Output = ()>) -> Result<(), StartError> {
    let configs = quick_start(parse_configs(&args.configs)?);
    let opened = Opened::open(&args.broker, ID)?;
    let control = args
        .control
        .map(|address| bind_control(address, args.control_token_file.as_deref()))
        .transpose()?;
    let mut stop = std::pin::pin!(stop);
    let controller = tokio::select! {
        controller = metadata_log::lead(&opened.data_dir) => controller?,
        // On a full disk it may never lead.
        () = &mut stop => return Ok(()),
    };
    set_configs(&controller, configs).await?;
    if let Some((listener, secret)) = control {
        tokio::spawn(serve(listener, secret, controller.clone()));
    }

    let role = Role {
        id: ID,
        rack: None,
        pod_uid: None,
        lease: None,
    };
    let link = controller.clone();
    let connect = move |_| Ok(Controller::Local(link));
    let stop = async {
        tokio::select! {
            () = stop => {}
            () = regressed(&controller) => {}
        }
    };
    let ended = Box::pin(broker::run(&args.broker, role, opened, connect, stop)).await;
    if let HostState::Ended(ending @ Ending::Regressed(_)) = &*controller.state().borrow() {
        return Err(StartError::Controller(ending.to_string()));
    }
    controller.shutdown().await;
    ended
}

/// Ready when the folder of the metadata turns out to be older than what the broker knows (METADATA 23).
async fn regressed(controller: &ControllerHandle) {
    if !matches!(controller.ended().await, Ending::Regressed(_)) {
        std::future::pending::<()>().await;
    }
}

/// Kafka's quick start sets this beside its defaults: nobody waits for a second member of a group.
fn quick_start(mut configs: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let delay = configs.entry("group.initial.rebalance.delay.ms".to_owned());
    delay.or_insert_with(|| "0".to_owned());
    configs
}

/// `--config key=value`, checked.
fn parse_configs(given: &[String]) -> Result<BTreeMap<String, String>, StartError> {
    let mut configs = BTreeMap::new();
    for text in given {
        let refuse = |reason: String| StartError::Config {
            given: text.clone(),
            reason,
        };
        let Some((key, value)) = text.split_once('=') else {
            return Err(refuse("write it as KEY=VALUE, for example num.partitions=3".to_owned()));
        };
        let one = BTreeMap::from([(key.trim().to_owned(), value.trim().to_owned())]);
        let checked = config::check_cluster(&one).map_err(|error| refuse(error.to_string()))?;
        configs.extend(checked);
    }
    Ok(configs)
}

/// A setting that is not given any more goes back to its default. What a client changed meanwhile counts over both.
async fn set_configs(controller: &ControllerHandle, configs: BTreeMap<String, String>) -> Result<(), StartError> {
    if *controller.image().borrow().static_config() == configs {
        return Ok(());
    }
    controller
        .static_config(configs)
        .await
        .map_err(|refusal| StartError::Controller(format!("the settings are refused: {refusal}")))
}

fn bind_control(
    address: SocketAddr,
    token_file: Option<&Path>,
) -> Result<(TcpListener, Option<SharedToken>), StartError> {
    let secret = token_file.map(read_secret).transpose()?;
    if secret.is_none() && !address.ip().is_loopback() {
        return Err(StartError::ControlWithoutToken { address });
    }
    let listener = TcpListener::bind(address).map_err(|source| StartError::Control { address, source })?;
    Ok((listener, secret))
}

fn read_secret(path: &Path) -> Result<SharedToken, StartError> {
    let fail = |source| StartError::Secret {
        path: path.to_path_buf(),
        option: "--control-token-file",
        source,
    };
    let text = std::fs::read_to_string(path).map_err(fail)?;
    SharedToken::new(&text).ok_or_else(|| fail(std::io::Error::other("the file is empty")))
}

async fn serve(listener: TcpListener, secret: Option<SharedToken>, controller: ControllerHandle) {
    let until = std::future::pending();
    let served = match secret {
        Some(secret) => serve_control(listener, None, secret, Single(controller), until).await,
        None => serve_control(listener, None, Loopback, Single(controller), until).await,
    };
    if let Err(error) = served {
        tracing::error!(%error, "the control port is not served any more");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = parse_configs(&["num.partition=3".to_owned()]).expect_err("unknown");
        assert!(error.to_string().contains("num.partition"), "{error}");
        assert!(parse_configs(&["num.partitions=three".to_owned()]).is_err());
        assert!(parse_configs(&["num.partitions".to_owned()]).is_err());
        let good = parse_configs(&["num.partitions=3".to_owned()]).expect("legal");
        assert_eq!(good.get("num.partitions").map(String::as_str), Some("3"));
    }

    #[test]
    fn an_open_control_port_needs_a_secret() {
        let open = "0.0.0.0:0".parse().expect("an address");
        let error = bind_control(open, None).expect_err("open");
        assert!(error.to_string().contains("--control-token-file"), "{error}");
        let loopback = "127.0.0.1:0".parse().expect("an address");
        assert!(bind_control(loopback, None).is_ok());
    }
}
