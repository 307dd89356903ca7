//! The parameters of a policy: declared in its table, set by the operator as text, coerced here.

use std::{collections::BTreeMap, fmt};

use mlua::{Table, Value};

use crate::suggest;

/// The longest value of a text parameter, bytes.
pub const PARAM_LEN_MAX: usize = 1024;
/// The most parameters of a policy.
pub const PARAMS_MAX: usize = 64;

/// A parameter of a policy and the value it has.
#[derive(Clone, PartialEq, Debug)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// What it takes.
    pub kind: ParamKind,
    /// What it is where nobody sets it.
    pub default: ParamValue,
    /// What it is.
    pub value: ParamValue,
    /// What it means.
    pub doc: String,
}

/// What a parameter takes.
#[derive(Clone, PartialEq, Debug)]
pub enum ParamKind {
    /// A finite number.
    Number {
        /// The least.
        min: Option<f64>,
        /// The greatest.
        max: Option<f64>,
    },
    /// A whole number.
    Integer {
        /// The least.
        min: Option<f64>,
        /// The greatest.
        max: Option<f64>,
    },
    /// Text of at most [`PARAM_LEN_MAX`] bytes.
    Text,
    /// `true` or `false`.
    Boolean,
    /// One of these.
    Enum(Vec<String>),
}

/// A value of a parameter.
#[derive(Clone, PartialEq, Debug)]
pub enum ParamValue {
    /// Of [`ParamKind::Number`].
    Number(f64),
    /// Of [`ParamKind::Integer`].
    Integer(i64),
    /// Of [`ParamKind::Text`] and [`ParamKind::Enum`].
    Text(String),
    /// Of [`ParamKind::Boolean`].
    Boolean(bool),
}

impl fmt::Display for ParamValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(n) => write!(f, "{n}"),
            Self::Integer(n) => write!(f, "{n}"),
            Self::Text(text) => f.write_str(text),
            Self::Boolean(b) => write!(f, "{b}"),
        }
    }
}

impl ParamKind {
    /// Its name in a policy's table.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Number { .. } => "number",
            Self::Integer { .. } => "integer",
            Self::Text => "string",
            Self::Boolean => "boolean",
            Self::Enum(_) => "enum",
        }
    }

    /// A value from what an operator wrote.
    fn parse(&self, text: &str) -> Result<ParamValue, String> {
        let wrong = || format!("'{text}' is not of type {}", self.name());
        let value = match self {
            Self::Number { .. } => ParamValue::Number(text.parse().map_err(|_| wrong())?),
            Self::Integer { .. } => ParamValue::Integer(text.parse().map_err(|_| wrong())?),
            Self::Text | Self::Enum(_) => ParamValue::Text(text.to_owned()),
            Self::Boolean => ParamValue::Boolean(text.parse().map_err(|_| wrong())?),
        };
        self.check(value)
    }

    /// A value from the policy's table.
    fn coerce(&self, value: &Value) -> Result<ParamValue, String> {
        let coerced = match (self, value) {
            (Self::Number { .. }, Value::Integer(n)) => ParamValue::Number(*n as f64),
            (Self::Number { .. }, Value::Number(n)) => ParamValue::Number(*n),
            (Self::Integer { .. }, Value::Integer(n)) => ParamValue::Integer(*n),
            (Self::Integer { .. }, Value::Number(n)) if n.fract() == 0.0 && n.abs() < 9e15 => {
                ParamValue::Integer(*n as i64)
            }
            (Self::Text | Self::Enum(_), Value::String(s)) => ParamValue::Text(s.to_string_lossy()),
            (Self::Boolean, Value::Boolean(b)) => ParamValue::Boolean(*b),
            (_, Value::Nil) => return Err("it has no default".to_owned()),
            (_, other) => {
                let (is, wanted) = (other.type_name(), self.name());
                return Err(format!("its default is of type {is}, not {wanted}"));
            }
        };
        self.check(coerced)
    }

    /// The value, where it is within the bounds.
    fn check(&self, value: ParamValue) -> Result<ParamValue, String> {
        let bounded = |n: f64, min: &Option<f64>, max: &Option<f64>| {
            if !n.is_finite() {
                return Err(format!("{n} is not finite"));
            }
            match (min, max) {
                (Some(min), _) if n < *min => Err(format!("{n} is less than {min}")),
                (_, Some(max)) if n > *max => Err(format!("{n} is more than {max}")),
                (_, _) => Ok(()),
            }
        };
        match (self, &value) {
            (Self::Number { min, max }, ParamValue::Number(n)) => bounded(*n, min, max)?,
            (Self::Integer { min, max }, ParamValue::Integer(n)) => bounded(*n as f64, min, max)?,
            (Self::Text, ParamValue::Text(text)) if text.len() > PARAM_LEN_MAX => {
                return Err(format!("{} bytes; at most {PARAM_LEN_MAX}", text.len()));
            }
            (Self::Enum(values), ParamValue::Text(text)) if !values.contains(text) => {
                let hint = suggest::hint(text, values.iter().map(String::as_str));
                return Err(format!("'{text}' is not one of {}{hint}", values.join(", ")));
            }
            (_, _) => {}
        }
        Ok(value)
    }
}

/// A fault of a parameter: its name, where one is meant, and what is wrong.
pub(crate) type ParamFault = (Option<String>, String);

/// Reads the declarations of a policy and applies the operator's settings.
///
/// # Errors
/// Everything that is wrong, at once.
pub(crate) fn read(
    declared: Option<&Table>,
    settings: &BTreeMap<String, String>,
) -> Result<Vec<Param>, Vec<ParamFault>> {
    let mut faults = Vec::new();
    let mut params = BTreeMap::new();
    if let Some(declared) = declared {
        for pair in declared.pairs::<Value, Value>() {
            match pair.map_err(|error| (None, error.to_string())).and_then(declaration) {
                Ok(param) => {
                    params.insert(param.name.clone(), param);
                }
                Err(fault) => faults.push(fault),
            }
        }
    }
    if params.len() > PARAMS_MAX {
        faults.push((None, format!("{} parameters; at most {PARAMS_MAX}", params.len())));
    }
    for (name, text) in settings {
        let Some(param) = params.get_mut(name) else {
            // A declaration that is wrong was reported as such.
            if !faults.iter().any(|(faulty, _)| faulty.as_ref() == Some(name)) {
                let hint = suggest::hint(name, params.keys().map(String::as_str));
                faults.push((None, format!("--set {name}: there is no such parameter{hint}")));
            }
            continue;
        };
        match param.kind.parse(text) {
            Ok(value) => param.value = value,
            Err(fault) => faults.push((Some(name.clone()), format!("--set {name}: {fault}"))),
        }
    }
    faults.sort();
    if faults.is_empty() { Ok(params.into_values().collect()) } else { Err(faults) }
}

fn declaration((name, spec): (Value, Value)) -> Result<Param, ParamFault> {
    let Value::String(name) = name else {
        return Err((None, format!("a parameter's name is a {}, not a string", name.type_name())));
    };
    let name = name.to_string_lossy();
    let fault = |message: String| (Some(name.clone()), format!("parameter '{name}': {message}"));
    let Value::Table(spec) = spec else {
        let is = spec.type_name();
        return Err(fault(format!("is of type {is}, not a table {{type=, default=}}")));
    };
    known_keys(&spec).map_err(&fault)?;
    let kind = kind(&spec).map_err(&fault)?;
    let default: Value = spec.raw_get("default").map_err(|error| fault(error.to_string()))?;
    let default = kind.coerce(&default).map_err(&fault)?;
    let doc = match spec.raw_get("doc") {
        Ok(Value::String(doc)) => crate::sink::sanitised(&doc.as_bytes(), PARAM_LEN_MAX),
        Ok(Value::Nil) => String::new(),
        Ok(_) | Err(_) => return Err(fault("doc is not a string".to_owned())),
    };
    Ok(Param { value: default.clone(), name, kind, default, doc })
}

fn known_keys(spec: &Table) -> Result<(), String> {
    const KEYS: [&str; 6] = ["type", "default", "min", "max", "values", "doc"];
    for pair in spec.pairs::<Value, Value>() {
        let (key, _) = pair.map_err(|error| error.to_string())?;
        let Value::String(key) = key else {
            return Err(format!("a key is a {}, not a string", key.type_name()));
        };
        let key = key.to_string_lossy();
        if !KEYS.contains(&key.as_str()) {
            return Err(format!("unknown key '{key}'{}", suggest::hint(&key, KEYS)));
        }
    }
    Ok(())
}

fn kind(spec: &Table) -> Result<ParamKind, String> {
    let bound = |key: &str| match spec.raw_get(key) {
        Ok(Value::Integer(n)) => Ok(Some(n as f64)),
        Ok(Value::Number(n)) if n.is_finite() => Ok(Some(n)),
        Ok(Value::Nil) => Ok(None),
        Ok(_) | Err(_) => Err(format!("{key} is not a number")),
    };
    let kind: Value = spec.raw_get("type").map_err(|error| error.to_string())?;
    let Value::String(kind) = kind else { return Err("it has no type".to_owned()) };
    let kind = kind.to_string_lossy();
    match kind.as_str() {
        "number" => Ok(ParamKind::Number { min: bound("min")?, max: bound("max")? }),
        "integer" => Ok(ParamKind::Integer { min: bound("min")?, max: bound("max")? }),
        "string" => Ok(ParamKind::Text),
        "boolean" => Ok(ParamKind::Boolean),
        "enum" => {
            let values = spec.raw_get::<Vec<String>>("values");
            let values = values.map_err(|_| "it has no values, a list of strings".to_owned())?;
            if values.is_empty() {
                return Err("values is empty".to_owned());
            }
            Ok(ParamKind::Enum(values))
        }
        other => {
            let kinds = ["number", "integer", "string", "boolean", "enum"];
            Err(format!("unknown type '{other}'{}", suggest::hint(other, kinds)))
        }
    }
}
