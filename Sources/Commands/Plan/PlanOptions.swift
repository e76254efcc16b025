// SPDX-License-Identifier: MIT

public import ArgumentParser
public import Planner
import Platform

/// Model and hardware of a plan.
struct PlanTargetOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "\(KnownModel.allCases.map(\.rawValue).joined(separator: ", ")), or a config.json.",
            valueName: "name|file"),
        completion: .file())
    var model = KnownModel.deepSeekV3.rawValue

    @Option(
        help: ArgumentHelp("One of \(Hardware.known.map(\.name).joined(separator: ", ")).", valueName: "name"))
    var hardware = Hardware.h800.name

    @Option(help: ArgumentHelp("Rent of a GPU instead of the table's.", valueName: "$/hour"))
    var price: Double?

    @Option(
        help: ArgumentHelp(
            "Published kernel tables: \(KernelRates.Generation.allCases.map(\.rawValue).joined(separator: " or ")).",
            valueName: "month"))
    var kernels = KernelRates.Generation.april2025

    /// The model's costs.
    func costs() throws(FathomError) -> ModelCosts { ModelCosts(try KnownModel.configuration(named: model)) }

    /// The hardware at the price that is asked for.
    func machine() throws(FathomError) -> Hardware {
        var found = try Hardware.named(hardware)
        if let price {
            try LegalRange.check("--price", price, 0...10_000, unit: "$/hour")
            found.dollarsPerHour = price
        }
        if kernels == .february2025 { found.attention = .february2025 }
        return found
    }

    var rates: KernelRates { KernelRates(generation: kernels) }
}

extension KernelRates.Generation: ExpressibleByArgument {}
