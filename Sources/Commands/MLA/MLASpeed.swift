// SPDX-License-Identifier: MIT

import FlashMLA
import KernelDispatch

/// What `fathom mla bench` measured.
struct MLASpeed: Report {
    /// One decode call.
    struct Case: Encodable {
        /// Its lengths in a word.
        var lengths: String
        var requests: Int
        var tokens: Int
        var heads: Int
        var format: String
        /// Median time of a call.
        var seconds: Double
        var gigaflops: Double
        /// Of the multiply-add peak, also where pairs of twice that rate were multiplied.
        var ofPeak: Double
        var gigabytesPerSecond: Double
        var ofRead: Double
        /// `multiply-add`, `pairs` or `read`: which of the machine's limits asks for more time.
        var bound: String
        /// The bound's time divided by the measured one.
        var ofBound: Double
        /// Speed relative to equal lengths of the same total; of drawn lengths only.
        var speedOfEqual: Double?

        init(lengths: String, result: DecodeBenchmark, machine: MachineLimits, speedOfEqual: Double?) {
            self.lengths = lengths
            requests = result.shape.lengths.count
            tokens = result.shape.tokens
            heads = result.shape.heads
            format = result.shape.format
            seconds = result.seconds
            gigaflops = result.gigaflops
            gigabytesPerSecond = result.gigabytesPerSecond
            let bounds = result.bounds(machine)
            ofPeak = gigaflops / machine.multiplyAddGigaflops
            ofRead = bounds.read / result.seconds
            bound = bounds.read > bounds.compute ? "read" : result.usesPairs ? "pairs" : "multiply-add"
            ofBound = max(bounds.compute, bounds.read) / result.seconds
            self.speedOfEqual = speedOfEqual
        }
    }

    /// One sparse decode call, four tokens over lists of `topK` rows.
    struct SparseCase: Encodable {
        var format: String
        var heads: Int
        var topK: Int
        /// Median time of a call.
        var seconds: Double
        var gigaflops: Double
        var ofPeak: Double
        var gigabytesPerSecond: Double
        var ofRead: Double

        init(format: String, result: SparseBenchmark, machine: MachineLimits) {
            self.format = format
            heads = result.shape.heads
            topK = result.shape.topK
            seconds = result.seconds
            gigaflops = result.gigaflops
            ofPeak = gigaflops / machine.multiplyAddGigaflops
            gigabytesPerSecond = result.gigabytesPerSecond
            ofRead = gigabytesPerSecond / machine.readGigabytesPerSecond
        }
    }

    var isa: String
    var threads: Int
    var machine: MachineLimits
    var decode: [Case]
    var sparse: [SparseCase]
    /// Attention over packed requests, 192/128 wide, causal: forward, then backward.
    var mha: [MHABenchmark]

    var text: String {
        var table = Table([.left, .right, .right, .right, .right, .right, .right, .left, .right, .right])
        table.add(
            "cache", "heads", "lengths", "ms", "GFLOP/s", "of peak", "GB/s", "bound", "of bound", "of equal")
        for result in decode {
            table.add(
                result.format, "\(result.heads)", "\(result.requests) × \(result.lengths)",
                Quantity.decimal(result.seconds * 1e3, places: 2), Quantity.decimal(result.gigaflops, places: 1),
                percent(result.ofPeak), Quantity.decimal(result.gigabytesPerSecond, places: 1), result.bound,
                percent(result.ofBound), result.speedOfEqual.map(percent) ?? "")
        }
        return """
            \(threads) threads, \(isa)
            \(machine.summary)

            \(table.text)\(sparseText)\(mhaText)
            """
    }

    private var sparseText: String {
        guard !sparse.isEmpty else { return "" }
        var table = Table([.left, .right, .right, .right, .right, .right, .right, .right])
        table.add("sparse", "heads", "top-k", "ms", "GFLOP/s", "of peak", "GB/s", "of read")
        for result in sparse {
            table.add(
                result.format, "\(result.heads)", "\(result.topK)", Quantity.decimal(result.seconds * 1e3, places: 2),
                Quantity.decimal(result.gigaflops, places: 1), percent(result.ofPeak),
                Quantity.decimal(result.gigabytesPerSecond, places: 1), percent(result.ofRead))
        }
        return "\n\n" + table.text
    }

    private var mhaText: String {
        guard !mha.isEmpty else { return "" }
        var table = Table([.left, .right, .right, .right, .right])
        table.add("packed, 192/128 wide", "heads", "tokens", "GFLOP/s", "of peak")
        for result in mha {
            table.add(
                result.isBackward ? "backward" : "forward", "\(result.shape.heads)", "\(result.shape.queryLength)",
                Quantity.decimal(result.gigaflops, places: 1),
                percent(result.gigaflops / machine.multiplyAddGigaflops))
        }
        return "\n\n" + table.text
    }

    private func percent(_ fraction: Double) -> String { "\(Quantity.decimal(fraction * 100, places: 0)) %" }
}
