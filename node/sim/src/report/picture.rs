//! Completion curves as an SVG picture: which part of the honest leechers had everything, and when.
//! The same outcomes give the same bytes. Never here: a file.

use std::time::Duration;

use plotters::{
    chart::{ChartBuilder, ChartContext},
    coord::{Shift, types::RangedCoordf64},
    drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea},
    element::{PathElement, Polygon, Text},
    prelude::{Cartesian2d, DashedLineSeries, LineSeries, SVGBackend},
    style::{
        Color, IntoFont, RGBColor, ShapeStyle, TextStyle, WHITE,
        text_anchor::{HPos, Pos, VPos},
    },
};

use crate::outcome::Outcome;

use super::layout::{clean, fit, fit_end};

/// Pixels of the picture.
const SIZE: (u32, u32) = (800, 480);
/// Points in time at which curves are looked at: about one a pixel, whatever the size of a swarm.
const POINTS: usize = 700;
/// Columns of the title and of a policy in the legend.
const TITLE_MAX: usize = 56;
const POLICY_MAX: usize = 26;
/// Pixels around the curves.
const MARGIN: i32 = 14;
/// The legend: policies in a row, pixels from one to the next and of a row.
const LEGEND_COLUMNS: usize = 2;
const LEGEND_COLUMN: i32 = 350;
const LEGEND_ROW: i32 = 20;
/// Curves that can be told apart, by colour and dashes.
const CURVES_MAX: usize = 2 * COLOURS.len();

/// Colours that people with any of the common kinds of colour blindness tell apart, and dark enough
/// for a line on white. Source: Okabe and Ito, "Color Universal Design", 2008, without its yellow.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];
/// Text and axes.
const INK: RGBColor = RGBColor(51, 51, 51);
/// The grid.
const FAINT: RGBColor = RGBColor(226, 226, 226);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// One curve a policy, with its runs: over virtual time since the first leecher came, the
/// percentage of honest leechers that had everything, of all that ever came. Over several seeds the
/// line is the median at each time, in a band from the least to the most. Runs that a violation
/// ended, those without honest leechers, and policies after the fourteenth are left out.
#[must_use]
pub fn curves(title: &str, policies: &[(&str, &[Outcome])]) -> String {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        draw(&area, title, policies).expect("a string takes everything, and no font is loaded");
    }
    svg
}

fn draw(area: &Area<'_>, title: &str, policies: &[(&str, &[Outcome])]) -> Drawn {
    area.fill(&WHITE)?;
    let policies: Vec<(&str, Vec<Run>)> = policies
        .iter()
        .take(CURVES_MAX)
        .map(|(name, outcomes)| (*name, outcomes.iter().filter_map(Run::of).collect()))
        .collect();
    let below = area.titled(&fit(&clean(title), TITLE_MAX), text(24))?;
    let rows = i32::try_from(policies.len().div_ceil(LEGEND_COLUMNS)).unwrap_or(i32::MAX);
    let (above, below) = below.split_vertically(rows.saturating_mul(LEGEND_ROW) + 4);
    for (place, (name, runs)) in policies.iter().enumerate() {
        legend(&above, place, name, runs.len())?;
    }
    let ends = policies.iter().flat_map(|(_, runs)| runs).map(|run| run.end);
    let end = ends.max().unwrap_or_default().as_secs_f64();
    let end = if end > 0.0 { end * 1.03 } else { 1.0 };
    let mut chart = axes(&below, end)?;
    for (place, (_, runs)) in policies.iter().enumerate() {
        curve(&mut chart, place, &Steps::of(runs, end))?;
    }
    area.present()
}

fn axes<'a, 'b>(
    area: &'a Area<'b>,
    end: f64,
) -> Result<Chart<'a, 'b>, DrawingAreaErrorKind<std::io::Error>> {
    let mut chart = ChartBuilder::on(area)
        .margin(MARGIN)
        .x_label_area_size(46)
        .y_label_area_size(62)
        .build_cartesian_2d(0.0..end, 0.0..103.0)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(FAINT)
        .axis_style(INK)
        .label_style(text(15))
        .axis_desc_style(text(17))
        .x_labels(9)
        .y_labels(6)
        .x_label_formatter(&|x| tick(*x, end))
        .y_label_formatter(&|y| format!("{y:.0}%"))
        .x_desc("virtual seconds since the first leecher came")
        .y_desc("honest leechers complete")
        .draw()?;
    Ok(chart)
}

/// A policy's line and name, above the curves: within, a long name would hide them.
fn legend(area: &Area<'_>, place: usize, name: &str, seeds: usize) -> Drawn {
    let column = i32::try_from(place % LEGEND_COLUMNS).unwrap_or(0);
    let row = i32::try_from(place / LEGEND_COLUMNS).unwrap_or(0);
    let x = 76 + column * LEGEND_COLUMN;
    let y = row * LEGEND_ROW + LEGEND_ROW / 2;
    let dashes: &[(i32, i32)] = match dash(place) {
        Dash::Solid => &[(0, 24)],
        Dash::Dashed => &[(0, 6), (9, 15), (18, 24)],
    };
    for (from, to) in dashes {
        area.draw(&PathElement::new([(x + from, y), (x + to, y)], line(place)))?;
    }
    let seeds = if seeds > 1 { format!(", median of {seeds}") } else { String::new() };
    let label = format!("{}{seeds}", fit_end(&clean(name), POLICY_MAX));
    let style = text(16).pos(Pos::new(HPos::Left, VPos::Center));
    area.draw(&Text::new(label, (x + 32, y), style))
}

fn curve(chart: &mut Chart<'_, '_>, place: usize, steps: &Steps) -> Drawn {
    if let Some(band) = steps.band() {
        chart.draw_series([Polygon::new(band, colour(place).mix(0.15))])?;
    }
    let corners = steps.median.clone();
    match dash(place) {
        Dash::Solid => chart.draw_series(LineSeries::new(corners, line(place)))?,
        Dash::Dashed => chart.draw_series(DashedLineSeries::new(corners, 6, 3, line(place)))?,
    };
    Ok(())
}

/// How a line is drawn: where colours come round again, dashed.
#[derive(Clone, Copy)]
enum Dash {
    Solid,
    Dashed,
}

fn dash(place: usize) -> Dash {
    if place < COLOURS.len() { Dash::Solid } else { Dash::Dashed }
}

fn colour(place: usize) -> RGBColor {
    COLOURS[place % COLOURS.len()]
}

fn line(place: usize) -> ShapeStyle {
    ShapeStyle::from(colour(place)).stroke_width(2)
}

fn text(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK)
}

/// A label of the time axis.
fn tick(x: f64, end: f64) -> String {
    match end {
        0.0..0.1 => format!("{x:.1e}"),
        0.1..1.0 => format!("{x:.2}"),
        1.0..10.0 => format!("{x:.1}"),
        10.0..1e6 => format!("{x:.0}"),
        _ => format!("{x:.1e}"),
    }
}

/// One run: when honest leechers had everything.
struct Run {
    /// Since the first of them came, in order.
    complete: Vec<Duration>,
    /// How many there are.
    leechers: usize,
    /// The last of these times; the end of the run where somebody never had everything.
    end: Duration,
}

impl Run {
    fn of(outcome: &Outcome) -> Option<Self> {
        let leechers = || outcome.hosts.iter().filter(|it| it.honest && !it.seed);
        let first = leechers().map(|it| it.came).min()?;
        let mut complete: Vec<Duration> =
            leechers().filter_map(|it| it.complete).map(|at| at.saturating_sub(first)).collect();
        complete.sort_unstable();
        let leechers = leechers().count();
        let end = match complete.last() {
            Some(last) if complete.len() == leechers => *last,
            Some(_) | None => outcome.ended.saturating_sub(first),
        };
        outcome.violation.is_none().then_some(Self { complete, leechers, end })
    }

    /// The percentage that had everything by then.
    fn complete_at(&self, seconds: f64) -> f64 {
        let complete = self.complete.partition_point(|it| it.as_secs_f64() <= seconds);
        complete as f64 * 100.0 / self.leechers as f64
    }
}

/// Several runs at once: step curves, as the corners of their lines.
#[derive(Default)]
struct Steps {
    median: Vec<(f64, f64)>,
    least: Vec<(f64, f64)>,
    most: Vec<(f64, f64)>,
}

impl Steps {
    fn of(runs: &[Run], end: f64) -> Self {
        let mut steps = Self::default();
        for point in 0..=POINTS {
            let x = end * point as f64 / POINTS as f64;
            let Some(spread) = super::spread::Spread::of(runs.iter().map(|it| it.complete_at(x)))
            else {
                break;
            };
            step(&mut steps.median, (x, spread.median), point == POINTS);
            step(&mut steps.least, (x, spread.min), point == POINTS);
            step(&mut steps.most, (x, spread.max), point == POINTS);
        }
        steps
    }

    /// What lies between the least and the most; none, where they are the same.
    fn band(&self) -> Option<Vec<(f64, f64)>> {
        let differ = self.least != self.most;
        differ.then(|| self.least.iter().chain(self.most.iter().rev()).copied().collect())
    }
}

/// Adds a point in time to a line: corners only, where its value changes and at the end.
fn step(line: &mut Vec<(f64, f64)>, (x, y): (f64, f64), last: bool) {
    match line.last() {
        Some(&(_, before)) if before.total_cmp(&y).is_ne() => line.extend([(x, before), (x, y)]),
        Some(_) if !last => {}
        Some(_) | None => line.push((x, y)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::made_up::{outcome, swarm, violation};

    /// Whether every tag is closed in its order, and every attribute and text is escaped.
    fn assert_well_formed(svg: &str) {
        let mut open = Vec::new();
        let mut rest = svg;
        while let Some((text, after)) = rest.split_once('<') {
            assert!(!text.contains('>'), "{text}");
            let (tag, after) = after.split_once('>').unwrap();
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            match tag.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name)),
                None if tag.ends_with('/') => {}
                None => open.push(tag.split(' ').next().unwrap()),
            }
            rest = after;
        }
        assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} {rest}");
        assert!(svg.starts_with("<svg ") && !svg.chars().any(|c| c.is_control() && c != '\n'));
        for (place, _) in svg.match_indices('&') {
            assert!(
                ["&lt;", "&gt;", "&amp;", "&quot;", "&apos;"]
                    .iter()
                    .any(|it| svg[place..].starts_with(it))
            );
        }
    }

    fn drawn(title: &str, policies: &[(String, Vec<Outcome>)]) -> String {
        let policies: Vec<(&str, &[Outcome])> =
            policies.iter().map(|(name, runs)| (name.as_str(), runs.as_slice())).collect();
        let svg = curves(title, &policies);
        assert_well_formed(&svg);
        assert_eq!(svg, curves(title, &policies), "the same bytes again");
        svg
    }

    #[test]
    fn every_policy_has_a_curve_and_a_label() {
        let (plan, policies) = swarm(5);
        let svg = drawn(&plan.name, &policies);
        for text in [
            "two_zones",
            "native:lowest_uploaded, median of 5",
            "scripts/two_choices.lua",
            "virtual seconds since the first leecher came",
            "honest leechers complete",
            "100%",
            "#0072B2",
            "#D55E00",
        ] {
            assert!(svg.contains(text), "{text}");
        }
        assert_eq!(svg.matches("<polygon").count(), 2, "a band each");
    }

    #[test]
    fn a_curve_steps_where_somebody_completes() {
        let runs: Vec<Run> = [outcome(1, &[10, 20])].iter().filter_map(Run::of).collect();
        let line = Steps::of(&runs, 28.0).median;
        let heights: Vec<f64> = line.iter().map(|it| it.1).collect();
        assert_eq!(heights, [0.0, 0.0, 50.0, 50.0, 100.0, 100.0]);
        let at: Vec<f64> = line.iter().map(|it| it.0.round()).collect();
        assert_eq!(at, [0.0, 10.0, 10.0, 20.0, 20.0, 28.0]);
        assert_eq!(Steps::of(&runs, 28.0).band(), None);
    }

    #[test]
    fn the_line_is_the_median_and_time_begins_with_the_first_leecher() {
        let mut runs = [outcome(1, &[10, 20]), outcome(2, &[12, 22]), outcome(3, &[14, 24])];
        for host in &mut runs[2].hosts[1..] {
            host.came += Duration::from_secs(100);
            host.complete = host.complete.map(|at| at + Duration::from_secs(100));
        }
        let runs: Vec<Run> = runs.iter().filter_map(Run::of).collect();
        assert_eq!(runs[2].end, Duration::from_secs(24));
        let steps = Steps::of(&runs, 28.0);
        assert_eq!(steps.median[2], (12.0, 50.0));
        assert_eq!(steps.most[2], (10.0, 50.0));
        assert_eq!(steps.least[2], (14.0, 50.0));
        assert!(steps.band().is_some());
    }

    #[test]
    fn odd_runs_are_drawn_too() {
        drawn("nothing", &[]);
        drawn("nobody", &[("a".to_owned(), vec![outcome(1, &[])])]);
        let mut stuck = outcome(1, &[10, 20]);
        stuck.hosts.iter_mut().for_each(|it| it.complete = None);
        drawn("stuck", &[("a".to_owned(), vec![stuck.clone()])]);
        stuck.violation = Some(violation());
        assert!(Run::of(&stuck).is_none());
        let mut endless = outcome(1, &[1]);
        endless.hosts[1].complete = Some(Duration::MAX);
        drawn("endless", &[("a".to_owned(), vec![endless])]);
        drawn("at once", &[("a".to_owned(), vec![outcome(1, &[0])])]);
        let hostile = "<b>&\"'\x1b]0;\u{fffe}".repeat(30);
        let many: Vec<_> = (0..20).map(|it| (hostile.clone(), vec![outcome(it, &[it])])).collect();
        drawn(&hostile, &many);
        let shown = |count| drawn("many", &many[..count]).matches("&lt;b&gt;").count();
        let one = shown(1);
        assert_eq!([13, 14, 15].map(|it| shown(it) / one), [13, CURVES_MAX, CURVES_MAX]);
    }
}
