//! The controller: dispatches what comes in. What is decided stands in the modules of the nouns.

use std::time::Duration;

use model::MetadataImage;

use crate::effect::Effect;
use crate::input::Input;
use crate::settings::Settings;

/// The controller of one cluster, from taking over until it steps down.
#[derive(Debug)]
pub struct Controller {
    _settings: Settings,
    image: MetadataImage,
}

impl Controller {
    /// A controller that has not started.
    pub fn new(settings: Settings) -> Self {
        Self {
            _settings: settings,
            image: MetadataImage::empty(),
        }
    }

    /// Takes one input at a time (measured by any clock that does not go back) and says what is to be done.
    pub fn step(&mut self, _now: Duration, _input: Input) -> Vec<Effect> {
        Vec::new()
    }

    /// The committed image: what may be told to anybody (METADATA 1).
    pub fn image(&self) -> &MetadataImage {
        &self.image
    }
}
