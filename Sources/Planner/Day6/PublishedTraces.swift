// SPDX-License-Identifier: MIT

/// Predicted times of a layer beside those in DeepSeek's published traces of prefill and decode (profile-data, February
/// 2025; times per call in third-party notes). Shapes go in; no time of these traces does.
public struct TraceComparison: Sendable {
    public let prefill: PrefillTimes
    public let decode: DecodeTimes
    private let model: ModelCosts

    /// How far a layer may be off, as a part of the measured time.
    public static let tolerance = 0.15

    /// - Parameter model: V3's costs.
    public init(_ model: ModelCosts, rates: KernelRates = KernelRates(generation: .february2025)) {
        self.model = model
        var hardware = Hardware.h800
        hardware.attention = .february2025
        prefill = PrefillTimes(Self.prefillWork, of: model, on: hardware, rates: rates)
        decode = DecodeTimes(Self.decodeWork, of: model, on: hardware, rates: rates)
    }

    /// EP32, prompts of 4,096 tokens, 16,384 tokens a GPU in two micro-batches, 24 multiprocessors communicate; experts
    /// balanced by hand.
    public static let prefillWork = PrefillTimes.Work(
        ranks: 32, redundantExperts: 0, tokens: 8192, meanKeys: 4097.0 / 2)

    /// EP128, 128 requests a GPU in two micro-batches, 4,096 tokens of context. Two tokens a step: the grid of the
    /// attention, 4 × 1 × 33 for 132 multiprocessors, has 256 rows of 128 heads.
    public static let decodeWork = DecodeTimes.Work(
        ranks: 128, redundantExperts: 0, requests: 64, context: 4096, tokensPerStep: 2)

    /// Measured microseconds of one micro-batch in one layer of prefill.
    private enum Prefill {
        static let stages = [
            ("q_a, kv_a", 264.0), ("q_b", 854), ("core attention", 2810), ("o", 1703), ("shared gate, up", 448),
            ("shared down", 313), ("expand", 327), ("experts gate, up", 3567), ("experts down", 2402), ("reduce", 623),
            ("dispatch", 4594), ("combine", 8674),
        ]
        /// Kernels of 3,749.3 ms less 1,799.5 ms of exchange, over 122 micro-batch layers.
        static let computation = (3_749_300.0 - 1_799_500) / 122
        /// Span of 2.12 s over 122.
        static let period = 2_120_000.0 / 122
    }

    /// The same of decode.
    private enum Decode {
        static let stages = [("core attention", 243.0), ("merge of splits", 10.5)]
        /// Computation between a dispatch's issue and the wait for it.
        static let underDispatch = 105.0
        /// Issue and wait of dispatch and combine: 17.1 ms over 118 micro-batch layers.
        static let exchange = 17_100.0 / 118
        static let period = 724.0
    }

    /// Prefill's lines.
    public var prefillFigures: FigureGroup {
        let work = Self.prefillWork
        var figures = [
            Figure("GPUs of the unit", Double(work.ranks), unit: "GPUs", basis: .input),
            Figure("tokens of a micro-batch", work.tokens, unit: "tokens", basis: .input),
            Figure("mean keys of a token", work.meanKeys, unit: "keys", basis: .input, note: "prompts of 4,096"),
            Figure(
                "multiprocessors that compute", 108, unit: "of 132", basis: .input, note: "24 run the exchange"),
        ]
        figures += stages(Prefill.stages, prefill.stages)
        figures.append(
            layer("computation", prefill.computation, Prefill.computation, "all kernels but the exchange"))
        figures.append(
            layer(
                "layer, one micro-batch", prefill.secondsPerLayer, Prefill.period,
                "exchange under computation; span 2.12 s / 122"))
        return FigureGroup("Prefill of a layer on H800, beside the published trace", figures)
    }

    /// Decode's lines.
    public var decodeFigures: FigureGroup {
        let work = Self.decodeWork
        var figures = [
            Figure("GPUs of the unit", Double(work.ranks), unit: "GPUs", basis: .input),
            Figure("requests of a micro-batch", work.requests, unit: "requests", basis: .input),
            Figure("context", work.context, unit: "tokens", basis: .input),
            Figure(
                "tokens a step and request", Double(work.tokensPerStep), unit: "tokens", basis: .input,
                note: "from the attention's grid: 256 rows of 128 heads"),
        ]
        figures += stages(Decode.stages, decode.stages)
        let under = decode.stages.seconds(.shared) + decode.stages.seconds(.attention0)
        figures.append(plain("computation under dispatch", under, Decode.underDispatch, "SHARED and ATTN-0"))
        figures.append(
            plain(
                "exchange not hidden", decode.exposedCommunication, Decode.exchange,
                "predicted without the issue of transfers, measured with it"))
        figures.append(
            layer("layer, one micro-batch", decode.secondsPerLayer, Decode.period, "five stages"))
        return FigureGroup("Decode of a layer on H800, beside the published trace", figures)
    }

    private func stages(_ measured: [(String, Double)], _ predicted: [Stage]) -> [Figure] {
        measured.compactMap { name, time in
            predicted.first { $0.name == name }.map {
                plain(name, $0.seconds, time, $0.bound.rawValue)
            }
        }
    }

    private func plain(_ name: String, _ seconds: Double, _ measured: Double, _ note: String) -> Figure {
        Figure(name, seconds * 1e6, unit: "µs", basis: .predicted, published: measured, note: note)
    }

    private func layer(_ name: String, _ seconds: Double, _ measured: Double, _ note: String) -> Figure {
        Figure(
            name, seconds * 1e6, unit: "µs", basis: .predicted, published: measured,
            tolerance: measured * Self.tolerance, note: note)
    }
}
