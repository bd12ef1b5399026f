//! Sends events to named routes by expressions.
//!
//! ```toml
//! [[transform]]
//! plugin = "route"
//! config = { routes = [
//!   { name = "errors", when = 'data.status >= 500' },
//!   { name = "slow", when = 'data.seconds > 3' },
//! ] }
//!
//! [[sink]]
//! type = "rabbitmq"
//! inputs = ["route.errors"]
//! ```
//!
//! An event takes the first route whose condition holds; what takes none passes on as it came, or
//! takes the route that `otherwise` names. What takes a route that nobody names in `inputs` is
//! dropped, and its publisher told so. Conditions are expressions of the plugin `filter`.

#[cfg(test)]
mod tests;

use expression::Expression;
use serde::Deserialize;
use weir_plugin::{Action, Event, Failure, Plugin, Row, Step};

/// How many routes there may be.
const ROUTES_MAX: usize = 64;

/// What a pipeline file may say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The routes, in the order in which their conditions are tried.
    routes: Vec<RouteConfig>,
    /// The route of what takes none of them.
    otherwise: Option<String>,
}

/// What a pipeline file says of one route.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteConfig {
    name: String,
    when: String,
}

/// Sends events where one step says.
#[derive(Debug)]
pub struct Route {
    /// What the conditions read of JSON data.
    fields: Vec<String>,
    routes: Vec<(String, Expression)>,
    otherwise: Option<String>,
}

impl Plugin for Route {
    type Config = Config;
    const SCHEMA: Option<&'static str> = Some(include_str!("schema.json"));

    fn configure(config: Config, _: &Step) -> Result<Self, String> {
        let Config { routes, otherwise } = config;
        if routes.is_empty() || routes.len() > ROUTES_MAX {
            return Err(format!("`routes` has {} routes; give 1 to {ROUTES_MAX}", routes.len()));
        }
        let names = routes.iter().map(|route| &route.name).chain(&otherwise);
        if let Some(name) = names.into_iter().find(|name| !is_name(name)) {
            return Err(format!("`{name}` cannot name a route: use letters, digits, `-` and `_`"));
        }
        let mut fields = Vec::new();
        let routes = routes.into_iter().map(|RouteConfig { name, when }| {
            let condition = Expression::condition(&name, &when, &mut fields)?;
            Ok((name, condition))
        });
        let routes = routes.collect::<Result<_, String>>()?;
        Ok(Self { fields, routes, otherwise })
    }

    fn transform(&mut self, event: &Event<'_>) -> Result<Action, Failure> {
        for (name, condition) in &self.routes {
            if condition.is_true(event)? {
                return Ok(to(name));
            }
        }
        Ok(self.otherwise.as_deref().map_or(Action::Keep, to))
    }

    fn fields(&self) -> Vec<String> {
        self.fields.clone()
    }

    fn needs_data(&self) -> bool {
        false
    }
}

fn to(route: &str) -> Action {
    Action::Emit(vec![Row::new().route(route)])
}

fn is_name(name: &str) -> bool {
    let is_fit = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    !name.is_empty() && name.chars().all(is_fit)
}

weir_plugin::register!(Route);
