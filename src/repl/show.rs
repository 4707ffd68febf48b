//! Tensors as text: small ones whole, with the names of their axes; large ones by shape, statistics and a corner.

use std::fmt::Write;

use crate::tensor::{DType, Number, Tensor};

/// Most entries of a tensor that is shown whole.
const WHOLE: usize = 400;
/// Most columns of a row, and rows and columns of the corner of a larger tensor.
const COLUMNS: usize = 32;
const CORNER: usize = 6;

/// A tensor under its type; `axes` are the names of its axes, where they have some.
pub fn tensor(tensor: &Tensor, axes: &[String]) -> String {
    let shape = tensor.shape();
    let wide = shape.last().is_some_and(|&columns| columns > COLUMNS && shape.len() > 1);
    let mut text = String::new();
    if tensor.is_empty() {
        text.push_str("(no entries)\n");
    } else if tensor.len() <= WHOLE && !wide {
        block(tensor, shape, axes, usize::MAX, &mut text);
    } else {
        text.push_str(&statistics(tensor));
        block(tensor, shape, axes, CORNER, &mut text);
    }
    text
}

/// `min -1.2  max 3.4  mean 0.1  std 1.0`; of integers and truth values what makes sense.
fn statistics(tensor: &Tensor) -> String {
    let values: Vec<f64> = tensor.numbers().map(Number::as_f64).collect();
    let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    let count = finite.len().max(1) as f64;
    let mean = finite.iter().sum::<f64>() / count;
    let variance = finite.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    let least = finite.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = finite.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut text = format!(
        "  {} entries  min {}  max {}  mean {}  std {}",
        values.len(),
        float(least),
        float(greatest),
        float(mean),
        float(variance.sqrt())
    );
    let nan = values.iter().filter(|value| value.is_nan()).count();
    let infinite = values.len() - finite.len() - nan;
    for (count, what) in [(nan, "NaN"), (infinite, "infinite")] {
        if count > 0 {
            let _ = write!(text, "  {count} {what}");
        }
    }
    text.push('\n');
    text
}

/// Rows and columns, with a heading for each matrix of more than two axes; at most `limit` along each axis.
fn block(tensor: &Tensor, shape: &[usize], axes: &[String], limit: usize, text: &mut String) {
    let rank = shape.len();
    let columns = shape.last().copied().unwrap_or(1);
    let rows = if rank >= 2 { shape[rank - 2] } else { 1 };
    let (shown_rows, shown_columns) = (rows.min(limit), columns.min(limit.saturating_mul(2)));
    let matrices: usize = shape[..rank.saturating_sub(2)].iter().product();
    let decimals = decimals(tensor);
    let entry = |matrix: usize, row: usize, column: usize| -> String {
        let value = tensor.number((matrix * rows + row) * columns + column);
        match value {
            Some(Number::Int(value)) if tensor.dtype() == DType::Bool => (value != 0).to_string(),
            Some(value) => number(value, decimals),
            None => String::new(),
        }
    };
    if rank == 2
        && let [first, second] = axes
        && !(first.is_empty() && second.is_empty())
    {
        let named =
            |name: &str, size: usize| if name.is_empty() { size.to_string() } else { name.to_owned() };
        let _ = writeln!(text, "  {} down, {} across", named(first, rows), named(second, columns));
    }
    for matrix in 0..matrices.min(limit) {
        if rank > 2 {
            let mut rest = matrix;
            let mut at: Vec<String> = Vec::new();
            for place in (0..rank - 2).rev() {
                at.push(format!("{}", rest % shape[place]));
                rest /= shape[place];
            }
            at.reverse();
            let _ = writeln!(text, "  [{}, _, _]", at.join(", "));
        }
        let cells: Vec<Vec<String>> = (0..shown_rows)
            .map(|row| (0..shown_columns).map(|column| entry(matrix, row, column)).collect())
            .collect();
        let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..shown_columns).map(width).collect();
        for row in &cells {
            let line: Vec<String> =
                row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:>width$}")).collect();
            let more = if shown_columns < columns { "  …" } else { "" };
            let _ = writeln!(text, "  {}{more}", line.join("  "));
        }
        if shown_rows < rows {
            text.push_str("  …\n");
        }
    }
    if matrices > limit {
        text.push_str("  …\n");
    }
}

/// The decimals that all entries are shown with, where they are of similar size.
fn decimals(tensor: &Tensor) -> Option<usize> {
    let mut most = 0;
    for value in tensor.numbers().map(Number::as_f64).filter(|value| value.is_finite() && *value != 0.0) {
        if !(1e-3..1e5).contains(&value.abs()) {
            return None;
        }
        let text = format!("{value:.4}");
        most = most.max(text.trim_end_matches('0').rsplit('.').next().map_or(0, str::len));
    }
    Some(most)
}

fn number(number: Number, decimals: Option<usize>) -> String {
    match (number, decimals) {
        (Number::Int(value), _) => value.to_string(),
        (Number::Float(value), Some(decimals)) if value.is_finite() => format!("{value:.decimals$}"),
        (Number::Float(value), _) => float(value),
    }
}

/// Up to six digits that count, without zeros at the end.
fn float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf".to_owned() } else { "-inf".to_owned() };
    }
    let size = value.abs();
    if value == 0.0 {
        return "0".to_owned();
    }
    if !(1e-4..1e7).contains(&size) {
        return format!("{value:.4e}");
    }
    let before = size.log10().floor().max(0.0) as usize + 1;
    let text = format!("{value:.*}", 6usize.saturating_sub(before).max(1));
    let text = if size < 1e-1 { format!("{value:.6}") } else { text };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 1.0, -2.5, 0.1, 1.0 / 3.0, 123456.78, 1e-9, 1e9, f64::NAN].map(float);
        assert_eq!(shown, ["0", "1", "-2.5", "0.1", "0.33333", "123456.8", "1.0000e-9", "1.0000e9", "NaN"]);
    }

    #[test]
    fn matrices_have_columns_and_large_ones_statistics() {
        let small = Tensor::from_vec(&[2, 2], vec![1f32, -20.0, 3.5, 4.0]).unwrap();
        assert_eq!(
            tensor(&small, &["N".into(), String::new()]),
            "  N down, 2 across\n  1.0  -20.0\n  3.5    4.0\n"
        );
        let large = Tensor::from_vec(&[100, 50], vec![1f32; 5000]).unwrap();
        let shown = tensor(&large, &[]);
        assert!(shown.starts_with("  5000 entries  min 1  max 1  mean 1  std 0\n"), "{shown}");
        assert_eq!(shown.lines().count(), 1 + CORNER + 1);
        let cube = Tensor::from_vec(&[2, 1, 2], vec![1i64, 2, 3, 4]).unwrap();
        assert_eq!(tensor(&cube, &[]), "  [0, _, _]\n  1  2\n  [1, _, _]\n  3  4\n");
        assert_eq!(tensor(&Tensor::from_vec(&[0], Vec::<f32>::new()).unwrap(), &[]), "(no entries)\n");
    }
}
