// SPDX-License-Identifier: MIT

import DeepGEMM
import DeepSeekModel
import KernelDispatch
import Planner
import Platform

/// What a plan for this machine is made from, measured at the moment of use.
struct HostMeasurement {
    let threadCount: Int
    let context: ComputeContext
    let limits: MachineLimits

    /// Seconds for which a product is measured.
    private static let productSeconds = 0.5

    /// - Parameter limits: nil to measure them.
    init(threadCount: Int, limits: MachineLimits? = nil) throws(FathomError) {
        self.threadCount = threadCount
        context = try ComputeContext(threadCount: threadCount)
        self.limits = if let limits { limits } else { try MachineLimits.measure(on: context) }
    }

    /// The machine as hardware of a plan.
    var hardware: Hardware { .thisCPU(limits, threads: threadCount) }

    /// Rates of single products of a model's shapes.
    ///
    /// - Parameters:
    ///   - tokens: rows of a prompt's products.
    ///   - smoke: small products, once.
    func rates(_ costs: ModelCosts, tokens: Int, smoke: Bool = false) throws(FathomError) -> HostPlan.Rates {
        let c = costs.configuration
        let format: MatrixOperand.Format = costs.precision == .fp8 ? .float8E4M3 : .bfloat16
        func product(_ rows: Int, _ outputs: Int, _ format: MatrixOperand.Format) throws(FathomError) -> GemmBenchmark {
            try GemmBenchmark.measure(
                m: rows, n: outputs, k: c.hiddenSize, formatA: format, formatB: format,
                minimumSeconds: smoke ? 0 : Self.productSeconds, on: context)
        }
        let width = 2 * (c.routedExpertCount > 0 ? c.expertIntermediateSize : c.denseIntermediateSize)
        let perExpert = c.routedExpertCount > 0 ? max(1, tokens * c.expertsPerToken / c.routedExpertCount) : tokens
        return HostPlan.Rates(
            product: try product(tokens, width, format).gigaflops,
            expertProduct: try product(perExpert, width, format).gigaflops,
            row: try product(1, width, format).gigabytesPerSecond,
            headRow: try product(1, smoke ? min(c.vocabularySize, 4096) : c.vocabularySize, .bfloat16)
                .gigabytesPerSecond,
            attention: limits.multiplyAddGigaflops * HostPlan.attentionPart)
    }
}
