// SPDX-License-Identifier: MIT

/// One piece of a layer's work with the time that it is predicted to take.
public struct Stage: Sendable, Codable, Equatable {
    /// What limits it.
    public enum Bound: String, Sendable, Codable, CaseIterable {
        case arithmetic
        case memory
        case link
        /// Too small for either: the least time of a kernel.
        case latency
    }

    /// Which part of the layer it belongs to; the words of DeepSeek's overlap drawings.
    public enum Part: String, Sendable, Codable, CaseIterable {
        /// Prefill: all of attention up to the router.
        case attention = "ATTN"
        /// Decode: from after the combine to before the core attention.
        case attention0 = "ATTN-0"
        /// Decode: core attention, output projection, router.
        case attention1 = "ATTN-1"
        case shared = "SHARED"
        case experts = "MLP"
        case dispatch = "DISPATCH"
        case combine = "COMBINE"
    }

    public var part: Part
    public var name: String
    public var seconds: Double
    public var bound: Bound

    public init(_ part: Part, _ name: String, seconds: Double, bound: Bound) {
        self.part = part
        self.name = name
        self.seconds = seconds
        self.bound = bound
    }

    /// Whether the exchange does it.
    public var isCommunication: Bool { part == .dispatch || part == .combine }
}

extension [Stage] {
    /// Seconds of the stages of a part together.
    public func seconds(_ part: Stage.Part) -> Double {
        reduce(0) { $1.part == part ? $0 + $1.seconds : $0 }
    }

    /// Seconds of computation, or of communication.
    public func seconds(communication: Bool) -> Double {
        reduce(0) { $1.isCommunication == communication ? $0 + $1.seconds : $0 }
    }
}

/// Makes stages: the roofline of a piece of hardware with the parts of it that kernels reach.
struct StageMaker {
    let hardware: Hardware
    let rates: KernelRates
    /// Part of the multiprocessors that compute.
    let computeShare: Double
    /// Whether linear layers have FP8 operands; bfloat16 otherwise.
    let isFloat8: Bool

    private var bandwidth: Double { hardware.memoryGigabytesPerSecond * 1e9 }

    /// A linear layer of `rows` tokens, or of each of `groups` experts.
    func product(
        _ part: Stage.Part, _ name: String, groups: Double = 1, rows: Double, outputs: Int, inputs: Int
    ) -> Stage {
        let (n, k) = (Double(outputs), Double(inputs))
        let width = isFloat8 ? 1.0 : 2.0
        let peak = (isFloat8 ? hardware.float8Teraflops : hardware.bfloat16Teraflops) * 1e12
        let efficiency = rates.productEfficiency(
            groups: groups > 1 ? 2 : 1, rows: rows, outputs: outputs, inputs: inputs)
        return roofline(
            part, name, operations: groups * 2 * rows * n * k, peak: peak,
            bytes: groups * (width * (rows * k + n * k) + 2 * rows * n), efficiency: efficiency)
    }

    /// A product in bfloat16, batched over heads, or of the head of the model.
    func batched(
        _ part: Stage.Part, _ name: String, batch: Int = 1, rows: Double, outputs: Int, inputs: Int
    ) -> Stage {
        let (b, n, k) = (Double(batch), Double(outputs), Double(inputs))
        return roofline(
            part, name, operations: b * 2 * rows * n * k, peak: hardware.bfloat16Teraflops * 1e12,
            bytes: 2 * b * (rows * k + n * k + rows * n), efficiency: rates.batchedProduct)
    }

    /// A pass over tokens that reads and writes so many bytes in `kernels` kernels.
    func pass(_ part: Stage.Part, _ name: String, bytes: Double, kernels: Int = 1) -> Stage {
        let least = Double(kernels) * rates.smallestKernel
        let seconds = bytes / (bandwidth * rates.passBandwidth)
        return Stage(
            part, name, seconds: max(least, seconds), bound: seconds > least ? .memory : .latency)
    }

    /// Core attention.
    ///
    /// - Parameters:
    ///   - arithmetic: part of the bfloat16 peak.
    ///   - reading: part of the bandwidth.
    func attention(
        _ part: Stage.Part, _ name: String, operations: Double, bytes: Double, arithmetic: Double, reading: Double
    ) -> Stage {
        let compute = operations / (hardware.bfloat16Teraflops * 1e12 * arithmetic * computeShare)
        let memory = bytes / (bandwidth * reading)
        return Stage(
            part, name, seconds: max(compute, memory, rates.smallestKernel),
            bound: max(compute, memory) < rates.smallestKernel ? .latency : compute >= memory ? .arithmetic : .memory)
    }

    private func roofline(
        _ part: Stage.Part, _ name: String, operations: Double, peak: Double, bytes: Double, efficiency: Double
    ) -> Stage {
        let compute = operations / (peak * computeShare)
        let memory = bytes / bandwidth
        let seconds = max(compute, memory) / efficiency
        return Stage(
            part, name, seconds: max(seconds, rates.smallestKernel),
            bound: seconds < rates.smallestKernel ? .latency : compute >= memory ? .arithmetic : .memory)
    }
}
