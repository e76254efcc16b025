// SPDX-License-Identifier: MIT

internal import LowPrecision

/// The definition of `quantizeFloat8` and `quantizeFloat4`, one block after the other. For tests.
///
/// - Parameter values: [rowCount, columnCount], row-major.
/// - Returns: one code per element (FP4 codes are not packed) and the scales [row blocks, column blocks].
public func referenceQuantize(
    _ values: [Float], rowCount: Int, columnCount: Int, format: QuantizedMatrix.Format,
    granularity: ScaleGranularity, powerOfTwoScales: Bool
) -> (codes: [UInt8], scales: [Float]) {
    let grid = granularity.grid(rowCount: rowCount, columnCount: columnCount)
    var codes = [UInt8](repeating: 0, count: rowCount * columnCount)
    var scales: [Float] = []
    for blockRow in 0..<grid.rows {
        for blockColumn in 0..<grid.columns {
            let rows = blockRow * granularity.rows..<min((blockRow + 1) * granularity.rows, rowCount)
            let firstColumn = blockColumn * granularity.columns
            let columns = firstColumn..<min(firstColumn + granularity.columns, columnCount)
            let places = rows.flatMap { row in columns.map { row * columnCount + $0 } }
            let scale = referenceScale(of: places.map { values[$0] }, format, powerOfTwoScales)
            for place in places {
                let scaled = values[place] * (1 / scale)
                codes[place] =
                    format == .float8E4M3 ? Float8E4M3(scaled).bitPattern : Float4E2M1(scaled).bitPattern
            }
            scales.append(scale)
        }
    }
    return (codes, scales)
}

private func referenceScale(
    of block: [Float], _ format: QuantizedMatrix.Format, _ powerOfTwoScales: Bool
) -> Float {
    if format == .float4E2M1, block.contains(where: \.isNaN) { return .nan }
    let maximum = block.filter { !$0.isNaN }.map { abs($0) }.max() ?? 0
    let scale = max(maximum, 1e-4) / format.largest
    return powerOfTwoScales ? Float(UE8M0(clampingUp: scale)) : scale
}
