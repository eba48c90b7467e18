"""Contract rows of wellfit.regularizers.weights."""

import wellfit as wf
from wellfit.core.regularizer import Regularizer

ROWS: dict[str, list[Regularizer]] = {
    "box": [wf.Box(-0.3, 0.6), wf.Box(-0.1, 0.4, select="all"), wf.Box(wf.Linear(-1.0, -0.2), wf.Linear(1.0, 0.2))],
    "constrained_decay": [
        wf.ConstrainedDecay(rule="uniform", bound=0.05), wf.ConstrainedDecay(rule="dependent", factor=0.5),
        wf.ConstrainedDecay(rule="warm_start", steps=2), wf.ConstrainedDecay(wf.Linear(0.5, 2.0), rule="inflection", steps=1)],
    "elastic_net": [
        wf.ElasticNet(0.05, l1_ratio=0.5), wf.ElasticNet(0.1, l1_ratio=1.0), wf.ElasticNet(0.1, l1_ratio=0.0),
        wf.ElasticNet(wf.WarmUp(0.05), l1_ratio=wf.Linear(0.2, 0.8), select="hidden")],
    "factorized_l1": [
        wf.FactorizedL1(0.05), wf.FactorizedL1(0.02, depth=3, select="hidden"), wf.FactorizedL1(0.02, tolerance=0.0, depth=4),
        wf.FactorizedL1(wf.WarmUp(0.05), select="linear")],
    "gated_groups": [
        wf.GatedGroups(0.05), wf.GatedGroups(0.05, groups="inputs", select="weights"), wf.GatedGroups(wf.WarmUp(0.05), 1e-6)],
    "group_lasso": [
        wf.GroupLasso(0.05), wf.GroupLasso(0.05, groups="units", select="weights"),
        wf.GroupLasso(0.05, groups="inputs", select="weights"), wf.GroupLasso(0.05, groups="units", select="all"),
        wf.GroupLasso(wf.WarmUp(0.1, fraction=0.3))],
    "group_mcp": [
        wf.GroupMCP(0.05), wf.GroupMCP(0.1, 0.4, groups="units", select="weights"), wf.GroupMCP(0.3, 2.0, select="weights"),
        wf.GroupMCP(0.05, 0.1, groups="units", select="all"), wf.GroupMCP(wf.WarmUp(0.1, fraction=0.3), wf.Linear(2.0, 0.5))],
    "half_norm": [wf.HalfNorm(0.05), wf.HalfNorm(wf.WarmUp(0.02), select="all")],
    "l1": [wf.L1(0.05), wf.L1(0.05, select="first"), wf.L1(0.02, select="all"), wf.L1(wf.Cosine(0.0, 0.1), select="last"),
           wf.L1(wf.PerLayer(0.05, 0.7), select="linear & ndim>=2")],
    "l2": [wf.L2(0.02), wf.L2(0.02, select="all"), wf.L2(wf.Linear(0.0, 0.1), select="hidden"), wf.L2(wf.PerLayer(0.02, 1.5))],
    "l2_sp": [wf.L2SP(0.05), wf.L2SP(0.02, select="all"), wf.L2SP(wf.Cosine(0.1), select="weights & depth<1"),
              wf.L2SP(wf.PerLayer(0.05, 1.3))],
    "max_norm": [
        wf.MaxNorm(1.0), wf.MaxNorm(0.5, select="all"), wf.MaxNorm(0.5, select="biases"), wf.MaxNorm(wf.Linear(3.0, 0.5)),
        wf.MaxNorm(0.7, select="recurrent.*")],
    "mcp": [wf.MCP(0.05), wf.MCP(0.2, gamma=0.1), wf.MCP(0.3, gamma=20.0, select="all"),
            wf.MCP(wf.WarmUp(0.1), wf.Linear(8.0, 2.0))],
    "min_max_norm": [
        wf.MinMaxNorm(0.5, 1.5), wf.MinMaxNorm(0.8, select="all"), wf.MinMaxNorm(0.0, 1.0, 0.3), wf.MinMaxNorm(0.5, 1.0),
        wf.MinMaxNorm(wf.Linear(0.0, 0.5), wf.Linear(3.0, 1.0))],
    "non_negative": [wf.NonNegative(), wf.NonNegative(0.4), wf.NonNegative(select="all"),
                     wf.NonNegative(wf.Linear(0.0, 1.0), select="last")],
    "nuclear_norm": [wf.NuclearNorm(0.1), wf.NuclearNorm(0.1, mode="subgradient"), wf.NuclearNorm(0.2, select="all"),
                     wf.NuclearNorm(wf.WarmUp(0.1), select="hidden")],
    "orthogonality": [wf.Orthogonality(0.01), wf.Orthogonality(0.02, select="weights"), wf.Orthogonality(0.02, select="all"),
                      wf.Orthogonality(wf.Cosine(0.05))],
    "scad": [wf.SCAD(0.05), wf.SCAD(0.2, a=2.05), wf.SCAD(0.3, a=20.0, select="all"), wf.SCAD(wf.WarmUp(0.1), wf.Linear(8.0, 2.5))],
    "sparse_group_lasso": [
        wf.SparseGroupLasso(0.05), wf.SparseGroupLasso(0.1, 0.2, groups="units", select="weights"),
        wf.SparseGroupLasso(0.1, 0.9, select="weights"), wf.SparseGroupLasso(0.1, 0.0), wf.SparseGroupLasso(0.1, 1.0),
        wf.SparseGroupLasso(wf.WarmUp(0.1), wf.Linear(0.1, 0.6))],
    "spectral_norm": [
        wf.SpectralNorm(0.7), wf.SpectralNorm(1.2, operator="convolution", size=4), wf.SpectralNorm(0.5, select="all"),
        wf.SpectralNorm(wf.Linear(3.0, 0.5))],
    "unit_norm": [wf.UnitNorm(), wf.UnitNorm(0.3), wf.UnitNorm(select="all"), wf.UnitNorm(wf.Linear(0.0, 1.0), select="hidden")],
    "weight_decay": [
        wf.WeightDecay(rate=0.1), wf.WeightDecay(timescale=3.0), wf.WeightDecay(rate=0.01, lr_scaled=False),
        wf.WeightDecay(rate=wf.Cosine(0.2, 0.0), select="all"), wf.WeightDecay(timescale=wf.Linear(2.0, 20.0), select="norms"),
        wf.WeightDecay(rate=wf.PerLayer(0.1, 0.8))],
}
