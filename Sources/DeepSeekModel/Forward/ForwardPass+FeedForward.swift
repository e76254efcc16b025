// SPDX-License-Identifier: MIT

internal import DeepGEMM
internal import KernelDispatch
internal import Kernels
internal import Platform
internal import Tensors
internal import Workers

/// The dense MLP and the mixture of experts (DeepSeekMoE, arXiv 2401.06066; routing of DeepSeek-V3, arXiv 2412.19437).
extension ForwardPass {
    /// Tokens whose experts are computed together: their rows may take 64 MiB.
    static func slabTokens(_ configuration: DeepSeekConfiguration) -> Int {
        max(1, (1 << 24) / (configuration.expertsPerToken * 2 * configuration.hiddenSize))
    }

    /// hidden += feedForward(norm(hidden)).
    func feedForward(
        _ layer: LayerWeights, index: Int, hidden: UnsafeMutablePointer<Float>
    ) throws(FathomError) {
        try arena.scope { () throws(FathomError) in
            let normed = try arena.take(batch.count * hiddenSize)
            normalize(hidden, rows: batch.count, width: hiddenSize, by: layer.postAttentionNorm, into: normed)
            switch layer.feedForward {
            case .dense(let mlp):
                try StoredWeight.check(mlp.all, on: context)
                let input = try activations(normed, rows: batch.count, width: hiddenSize, for: mlp.gate)
                let output = try self.mlp([(mlp, input, batch.count)])[0]
                add(output, to: hidden, rows: batch.count)
            case .experts(let experts):
                let slab = exchange?.slabTokens ?? Self.slabTokens(configuration)
                // Ranks that share experts go through equally many slabs, with or without tokens of their own.
                let slabs = exchange?.slabCount ?? (batch.count + slab - 1) / slab
                for slabIndex in 0..<slabs {
                    let first = min(slabIndex * slab, batch.count)
                    try mixture(
                        experts, layer: index, normed + first * hiddenSize,
                        rows: min(slab, batch.count - first), hidden: hidden + first * hiddenSize)
                }
            }
        }
    }

    /// Several MLPs, each on rows of its own, in three parallel regions: the grouped products of DeepGEMM.
    ///
    /// Inputs are already rounded where the weights want it. Returns each one's [rows, hidden], side by side.
    private func mlp(
        _ groups: [(weights: MLPWeights, input: LayerInput, rows: Int)]
    ) throws(FathomError) -> [UnsafeMutablePointer<Float>] {
        var gates: [UnsafeMutablePointer<Float>] = []
        var ups: [UnsafeMutablePointer<Float>] = []
        var problems: [LinearProblem] = []
        for group in groups {
            let width = group.weights.gate.matrix.outputCount
            let gate = try arena.take(group.rows * width)
            let up = try arena.take(group.rows * width)
            problems.append(problem(group.input, rows: group.rows, group.weights.gate, out: gate))
            problems.append(problem(group.input, rows: group.rows, group.weights.up, out: up))
            gates.append(gate)
            ups.append(up)
        }
        linear(problems, on: context)
        let activated = try activate(groups.map { ($0.weights, $0.rows) }, gates: gates, ups: ups)
        var outputs: [UnsafeMutablePointer<Float>] = []
        var output = try arena.take(groups.reduce(0) { $0 + $1.rows } * hiddenSize)
        problems = []
        for (group, input) in zip(groups, activated) {
            problems.append(problem(input, rows: group.rows, group.weights.down, out: output))
            outputs.append(output)
            output += group.rows * hiddenSize
        }
        linear(problems, on: context)
        return outputs
    }

    /// gate = silu(gate) · up for every row, and what the down-projection wants of it.
    private func activate(
        _ groups: [(weights: MLPWeights, rows: Int)], gates: [UnsafeMutablePointer<Float>],
        ups: [UnsafeMutablePointer<Float>]
    ) throws(FathomError) -> [LayerInput] {
        var inputs: [LayerInput] = []
        for (group, gate) in zip(groups, gates) {
            let width = group.weights.down.matrix.inputCount
            let coding = coding(for: group.weights.down)
            let rows = coding == .float32 ? gate : try arena.take(group.rows * coding.floatCount(width))
            inputs.append(LayerInput(rows, width: width, coding: coding))
        }
        let rows = groups.indices.flatMap { group in (0..<groups[group].rows).map { (group: group, row: $0) } }
        let kernels = context.kernels
        context.team.run(taskCount: rows.count) { [inputs] task, _ in
            let (group, row) = rows[task]
            let width = inputs[group].width
            let gate = gates[group] + row * width
            kernels.siluMultiply(gate, ups[group] + row * width, width)
            quantize(gate, into: inputs[group], row: row)
        }
        return inputs
    }

    /// hidden += Σ weight · expert(normed) + shared(normed) for a slab of tokens.
    private func mixture(
        _ layer: ExpertWeights, layer index: Int, _ normed: UnsafeMutablePointer<Float>, rows: Int,
        hidden: UnsafeMutablePointer<Float>
    ) throws(FathomError) {
        try arena.scope { () throws(FathomError) in
            let choices = try route(layer, normed, rows: rows)
            let input = try activations(normed, rows: rows, width: hiddenSize, for: layer.experts[0].gate)
            let received: ExpertRows
            if let exchange {
                received = try exchange.dispatch(layer: index, rows: input, choices: choices)
            } else {
                received = try gather(ExpertPlan(choices: choices, expertCount: layer.experts.count), input)
            }
            let active = received.groups.map { layer.experts[$0.expert] }
            let shared = rows > 0 ? layer.shared : nil
            try StoredWeight.check(active.flatMap(\.all) + (shared?.all ?? []), on: context)
            var groups = zip(active, received.groups).map { weights, group in
                (weights, received.rows.from(row: group.rows.lowerBound), group.rows.count)
            }
            if let shared {
                groups.append((shared, try activations(normed, rows: rows, width: hiddenSize, for: shared.gate), rows))
            }
            let outputs = try mlp(groups)
            let chosen: [[UnsafePointer<Float>]]
            if let exchange {
                chosen = try exchange.combine(outputs: outputs.first ?? hidden)
            } else {
                // SAFETY: rows of the outputs, which stay until the sum.
                chosen = received.places.map { $0.map { UnsafePointer(outputs[$0.group] + $0.row * hiddenSize) } }
            }
            let sharedOutput = shared == nil ? nil : outputs.last
            combine(choices, chosen, shared: sharedOutput, hidden: hidden)
        }
    }

    /// The rows of each expert side by side.
    private func gather(_ plan: ExpertPlan, _ input: LayerInput) throws(FathomError) -> ExpertRows {
        let gathered = LayerInput(
            try arena.take(plan.tokens.count * input.stride), width: hiddenSize, coding: input.coding)
        context.team.run(taskCount: plan.tokens.count) { row, _ in
            gathered.from(row: row).rows.update(from: input.from(row: plan.tokens[row]).rows, count: input.stride)
        }
        return ExpertRows(groups: plan.groups, rows: gathered, places: plan.places)
    }

    /// Each token's experts and weights.
    private func route(
        _ layer: ExpertWeights, _ normed: UnsafeMutablePointer<Float>, rows: Int
    ) throws(FathomError) -> [[Router.Choice]] {
        try StoredWeight.check([layer.router], on: context)
        let scores = try project(LayerInput(normed, width: hiddenSize), rows: rows, by: layer.router)
        let bias = layer.routerBias.map { UnsafePointer($0.baseAddress) }
        let count = layer.experts.count
        return (0..<rows).map { row in
            // SAFETY: the scores are [rows, count].
            router.choose(
                logits: Array(UnsafeBufferPointer(start: scores + row * count, count: count)), bias: bias)
        }
    }

    /// Sums each token's expert outputs in ascending order of the expert, then the shared experts' output.
    private func combine(
        _ choices: [[Router.Choice]], _ outputs: [[UnsafePointer<Float>]],
        shared: UnsafeMutablePointer<Float>?, hidden: UnsafeMutablePointer<Float>
    ) {
        let kernels = context.kernels
        context.team.run(taskCount: choices.count) { token, worker in
            let sum = context.scratch(of: worker)
            sum.update(repeating: 0, count: hiddenSize)
            for (choice, output) in zip(choices[token], outputs[token]) {
                kernels.addScaled(output, choice.weight, sum, hiddenSize)
            }
            if let shared { kernels.addScaled(shared + token * hiddenSize, 1, sum, hiddenSize) }
            kernels.addScaled(sum, 1, hidden + token * hiddenSize, hiddenSize)
        }
    }
}
