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
        help: ArgumentHelp("One of \(Hardware.names.joined(separator: ", ")), which is measured.", valueName: "name"))
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

    /// The hardware at the price that is asked for, and the rates of its kernels.
    ///
    /// - Parameter model: whose products are measured on this processor, where that is asked for.
    func machine(for model: ModelCosts) throws(FathomError) -> (hardware: Hardware, rates: KernelRates) {
        var rates = KernelRates(generation: kernels)
        var found: Hardware
        if hardware.lowercased() == Hardware.thisCPUName {
            let host = try HostMeasurement(threadCount: Machine.coreCount)
            found = host.hardware
            rates.measured = .init(try host.rates(model, tokens: Self.measuredTokens), on: found)
        } else {
            found = try Hardware.named(hardware)
            if kernels == .february2025 { found.attention = .february2025 }
        }
        if let price {
            try LegalRange.check("--price", price, 0...10_000, unit: "$/hour")
            found.dollarsPerHour = price
        }
        return (found, rates)
    }

    /// Rows of the products that stand for a prompt's.
    private static let measuredTokens = 512

    /// How many devices a unit has: as asked for, or by default.
    ///
    /// - Throws: `usage` for a number that the hardware does not allow.
    func devices(_ name: String, _ asked: Int?, default usual: Int, on hardware: Hardware) throws(FathomError) -> Int {
        let count = asked ?? (hardware.isThisCPU ? 1 : usual)
        guard !hardware.isThisCPU || count == 1 else {
            throw FathomError(
                .usage, "\(name) is \(count) on \(hardware.name); legal is 1: this processor is one device")
        }
        try LegalRange.check(name, count, hardware.unitRange, unit: "GPUs")
        return count
    }
}

extension KernelRates.Generation: ExpressibleByArgument {}
