// SPDX-License-Identifier: MIT

internal import KernelDispatch

extension MachineLimits {
    /// The limits in one line, as benchmarks print them above their tables.
    var summary: String {
        let pairs = pairGigaflops.map { " (\(Quantity.decimal($0, places: 1)) of bfloat16 pairs)" } ?? ""
        return "machine: \(Quantity.decimal(multiplyAddGigaflops, places: 1)) GFLOP/s multiply-add peak\(pairs), "
            + "\(Quantity.decimal(readGigabytesPerSecond, places: 1)) GB/s read bandwidth"
    }
}
