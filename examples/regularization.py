# %% [markdown]
# # Regularization, seen and measured
#
# A network with enough weights can learn its training examples by heart. Regularization is everything that makes it learn the
# rule instead. This notebook shows the main methods one after the other with [wellfit](../README.md): what each one does, a
# picture, and what it changes on data that the network has not seen.
#
# Everything here is synthetic or comes with scikit-learn, and runs on one CPU core in about a minute. The notebook is made from
# `regularization.py` by `build_notebook.py`.

# %%
import tempfile

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_diabetes, load_digits, load_sample_image, make_moons
from torch import nn

import wellfit as wf

torch.set_num_threads(1)
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"  # told apart with any colour vision
BLUE, RED, PINK = "#0072B2", "#D55E00", "#CC79A7"
plt.rcParams.update({"figure.dpi": 80, "savefig.dpi": 80, "font.size": 10, "axes.spines.top": False, "axes.spines.right": False,
                     "axes.titlesize": 11, "legend.frameon": False, "figure.constrained_layout.use": True,
                     "axes.prop_cycle": plt.cycler(color=[BLUE, ORANGE, GREEN, RED, PINK, SKY])})

# %% [markdown]
# ## One training loop for everything
#
# A recipe is a list of regularizers. `recipe.compile(model)` binds it to a network, and five calls bring it into an ordinary
# training loop: `attach`, `batch`, `objective`, `observe` and `finish`. The losses are the clean ones: measured in evaluation
# mode, without augmentation and without penalties. Otherwise the two curves could not be compared.

# %%
cross_entropy = nn.functional.cross_entropy


def fit(recipe, build, train, validation, epochs=100, lr=3e-3, batch=32, seed=0, loss_of=cross_entropy):
    """The trained network and its clean (training, validation) loss after every epoch."""
    (x, y), (xv, yv) = train, validation
    torch.manual_seed(seed)
    plan = recipe.compile(build(), seed=seed, epochs=epochs, steps_per_epoch=len(x) // batch)
    optimizer = torch.optim.AdamW(plan.model.parameters(), lr=lr, weight_decay=0, fused=True)
    plan.attach(optimizer)
    history = []
    for _ in range(epochs):
        for rows in torch.randperm(len(x))[:len(x) // batch * batch].split(batch):
            inputs, targets = plan.batch(x[rows], y[rows])
            loss = plan.objective(loss_of, plan.model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with plan.evaluating() as model, torch.no_grad():
            history.append((loss_of(model(x), y).item(), loss_of(model(xv), yv).item()))
        if plan.observe(validation_loss=history[-1][1]).stop:
            break
    return plan.finish(), np.array(history)


@torch.no_grad()
def accuracy(model, data):
    return (model(data[0]).argmax(1) == data[1]).float().mean().item()


def curves(ax, history, title):
    epochs = np.arange(1, len(history) + 1)
    ax.plot(epochs, history[:, 0], color=BLUE, label="training")
    ax.plot(epochs, history[:, 1], color=RED, ls="--", label="validation")
    ax.set(xlabel="epoch", ylabel="clean cross-entropy", title=title, ylim=(0, None))


# %% [markdown]
# ## Overfitting
#
# Two interleaved half-moons, so noisy that they overlap, and 100 points to learn from. The training loss goes towards zero. The
# validation loss falls, and then it rises: from there on the network learns the noise. The gap between the two curves is the
# overfitting.

# %%
def moons(rows, seed):
    x, y = make_moons(rows, noise=0.35, random_state=seed)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y)


def mlp():
    return nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))


train, validation, test = moons(100, 0), moons(500, 1), moons(4000, 2)
overfitted, history = fit(wf.Recipe(), mlp, train, validation, epochs=250)

fig, ax = plt.subplots(figsize=(6, 3.4))
curves(ax, history, "Without regularization")
best = int(history[:, 1].argmin())
ax.axvline(best + 1, color="0.6", lw=1)
ax.annotate("lowest validation loss", (best + 1, history[:, 1].max() * 0.85), xytext=(6, 0), textcoords="offset points",
            color="0.35")
ax.legend(loc="center right")
print(f"accuracy: {accuracy(overfitted, train):.3f} on training points, {accuracy(overfitted, test):.3f} on test points")

# %% [markdown]
# ## Bias and variance
#
# Why not simply a very rigid model? The expected error is the sum of three things: noise, the square of the *bias* (how far the
# average fit is from the truth) and the *variance* (how much the fit changes with the sample). Below a polynomial of degree 12
# with an L2 penalty of strength λ is fitted to 200 different samples. Small λ: no bias, much variance. Large λ: the reverse.
# Regularization is worth its bias as long as it takes away more variance.

# %%
def truth(x):
    return np.sin(1.5 * np.pi * x)


def features(x):
    return np.polynomial.legendre.legvander(x, 12)


def ridge(x, y, strength):
    """Weights that minimise mean (y - x·w)² + strength · Σw²."""
    return np.linalg.solve(x.T @ x / len(x) + strength * np.eye(x.shape[1]), x.T @ y / len(x))


rng = np.random.default_rng(0)
grid = np.linspace(-1, 1, 101)
samples = [(x, truth(x) + 0.3 * rng.normal(size=25)) for x in rng.uniform(-1, 1, (200, 25))]
strengths = np.logspace(-4, 0.5, 27)
fits = np.array([[features(grid) @ ridge(features(x), y, s) for x, y in samples] for s in strengths])  # (strength, sample, grid)
variance = fits.var(1, ddof=1).mean(1)
bias = ((fits.mean(1) - truth(grid)) ** 2).mean(1) - variance / len(samples)  # less what chance leaves in a mean of 200

fig, axes = plt.subplots(1, 4, figsize=(12, 3.2), width_ratios=(1, 1, 1, 1.5))
places = {"much variance": 0, "a good λ": int((bias + variance).argmin()), "much bias": 26}
for ax, (name, place) in zip(axes, places.items(), strict=False):
    ax.plot(grid, fits[place, :25].T, color=SKY, lw=0.6, alpha=0.7)
    ax.plot(grid, truth(grid), color=BLACK, lw=1.5)
    ax.set(title=f"{name}\nλ = {strengths[place]:.1g}", ylim=(-2, 2), xlabel="x")
axes[0].set_ylabel("y: truth (black), fits to 25 samples")
axes[3].loglog(strengths, bias.clip(1e-9), color=BLUE, ls="--", label="bias²")
axes[3].loglog(strengths, variance, color=ORANGE, ls=":", lw=2, label="variance")
axes[3].loglog(strengths, bias + variance, color=BLACK, label="bias² + variance")
axes[3].set(xlabel="strength λ", ylabel="error above the noise", title="The sum has a minimum", ylim=(3e-4, 30))
axes[3].legend(loc="upper right")

# %% [markdown]
# ## L2: ridge
#
# L2 adds λ · Σw² to the loss. For a linear model with squared error the minimum has a formula, and that makes a good check:
# `wf.L2` on a linear network, trained until nothing moves, gives the same weights.

# %%
table = load_diabetes()
x = (table.data - table.data.mean(0)) / table.data.std(0)
y = (table.target - table.target.mean()) / table.target.std()


def linear(part, x, y, steps=400, lr=0.2):
    """Weights (samples, features) of linear models, trained with one regularizer on x (samples, rows, features) until nothing
    moves. Every row of the weight matrix is a model of its own."""
    model = nn.Linear(x.shape[-1], len(x), bias=False, dtype=torch.float64)
    nn.init.zeros_(model.weight)
    plan = wf.Recipe(part).compile(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    plan.attach(optimizer)
    inputs, targets = torch.tensor(x), torch.tensor(y)
    for _ in range(steps):
        predictions = (inputs @ model.weight[..., None])[..., 0]
        loss = ((predictions - targets) ** 2).mean(1).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.weight.detach().numpy()


trained, formula = linear(wf.L2(0.1), x[None], y[None])[0], ridge(x, y, 0.1)
print(f"largest difference between training and formula: {np.abs(trained - formula).max():.1e}")

# %% [markdown]
# ## L1: lasso, and why its zeros are exact
#
# L1 adds λ · Σ|w|. Its pull does not fade when a weight gets small, so unneeded weights become exactly zero: the model also
# selects its inputs. The left picture shows the weights of the diabetes table as λ grows; dots are `wf.L1`, lines are
# scikit-learn's lasso. Under L2 (right) all weights shrink and none is ever zero.
#
# The zeros are exact only if the penalty acts as a proximal step, as here. The same penalty simply added to the loss makes the
# weights jump around zero without ever resting there.

# %%
from sklearn.linear_model import lasso_path

alphas, lasso, _ = lasso_path(x, y, alphas=np.logspace(-3, 0, 60))
some = np.logspace(-2.6, -0.2, 9)
ours = np.array([linear(wf.L1(2 * a), x[None], y[None])[0] for a in some])  # scikit-learn halves the squared error
fig, axes = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True)
colours = [BLUE, ORANGE, GREEN, RED, PINK, SKY, BLACK, "0.5", "0.65", "0.8"]
for row, colour in enumerate(colours):
    axes[0].semilogx(2 * alphas, lasso[row], color=colour, lw=1.2)
    axes[0].semilogx(2 * some, ours[:, row], "o", color=colour, ms=4)
    axes[1].semilogx(2 * alphas, [ridge(x, y, 2 * a)[row] for a in alphas], color=colour, lw=1.2, label=table.feature_names[row])
axes[0].set(xlabel="strength λ", ylabel="weight", title="L1: weights reach zero, one after the other")
axes[1].set(xlabel="strength λ", title="L2: all shrink together")
axes[1].legend(loc="upper right", ncols=2, fontsize=8, title="feature")


def naive(strength, x, y, steps=400):
    """The L1 penalty as a term of the loss, with Adam."""
    model = nn.Linear(x.shape[1], 1, dtype=torch.float64)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    inputs, targets = torch.tensor(x), torch.tensor(y)
    for _ in range(steps):
        loss = nn.functional.mse_loss(model(inputs)[:, 0], targets) + strength * model.weight.abs().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.weight.detach().numpy()[0]


print("exact zeros of 10 weights at λ = 0.2:", f"wf.L1 {int((linear(wf.L1(0.2), x[None], y[None]) == 0).sum())},",
      f"penalty in the loss {int((naive(0.2, x, y) == 0).sum())}, L2 {int((ridge(x, y, 0.2) == 0).sum())}")

# %% [markdown]
# ## Features that say the same, and the elastic net
#
# Two features that are almost copies of each other, and a third that means nothing. Only the sum of the first two weights (here 2)
# is well determined. Each point is a fit to another sample of 60 rows. Without a penalty the weights run away in opposite
# directions. L2 shares the weight evenly, and keeps the third feature. L1 drops the third, but how it divides the weight between
# the twins is chance. The elastic net, the sum of both penalties, does both: it shares and drops.

# %%
rng = np.random.default_rng(1)
common = rng.normal(size=(40, 60, 1))
x3 = np.concatenate([common + 0.1 * rng.normal(size=(40, 60, 2)), rng.normal(size=(40, 60, 1))], 2)
y3 = x3[..., :2].sum(2) + 0.7 * rng.normal(size=(40, 60))
fitted = {
    "no penalty": linear(wf.L2(1e-9), x3, y3, steps=2000),
    "L2(0.2)": linear(wf.L2(0.2), x3, y3),
    "L1(0.5)": linear(wf.L1(0.5), x3, y3, steps=1000),
    "ElasticNet(0.7, l1_ratio=0.7)": linear(wf.ElasticNet(0.7, l1_ratio=0.7), x3, y3),
}
fig, axes = plt.subplots(1, 4, figsize=(12, 3.1), sharex=True, sharey=True)
for ax, (name, weights), colour in zip(axes, fitted.items(), (BLACK, BLUE, RED, GREEN), strict=True):
    ax.axhline(0, color="0.85", lw=1)
    ax.axvline(0, color="0.85", lw=1)
    ax.plot([-1, 3], [3, -1], color="0.7", lw=1, ls=":")
    ax.scatter(weights[:, 0], weights[:, 1], s=16, color=colour, alpha=0.7)
    ax.set(title=name, xlabel="weight of feature 1", aspect="equal")
    dropped = np.mean(weights[:, 2] == 0)
    print(f"{name:30} spread of weight 1: {weights[:, 0].std():.2f}, third weight exactly zero in {dropped:.0%}")
axes[0].set_ylabel("weight of feature 2")

# %% [markdown]
# ## Dropout
#
# Dropout switches off each hidden unit with a given probability in every training step, so that no unit can rely on a particular
# other one. Training takes longer and its loss stays higher; what counts is the validation curve. One run proves little, so the
# numbers are means and deviations over three seeds.

# %%
def several(recipe, build, train, test, seeds=3, **settings):
    """Mean and deviation of the test accuracy over seeds, and the last history (on 500 test examples, to be quick)."""
    runs = [fit(recipe, build, train, (test[0][:500], test[1][:500]), seed=s, **settings) for s in range(seeds)]
    scores = [100 * accuracy(model, test) for model, _ in runs]
    return np.mean(scores), np.std(scores, ddof=1), runs[-1][1]


fig, axes = plt.subplots(1, 2, figsize=(10, 3.2), sharey=True)
for ax, recipe, name in zip(axes, (wf.Recipe(), wf.Recipe(wf.Dropout(0.5))), ("none", "Dropout(0.5)"), strict=True):
    mean, spread, log = several(recipe, mlp, train, test, epochs=150)
    curves(ax, log, f"{name}: {mean:.1f}% ± {spread:.1f} of test points right")
axes[1].legend()

# %% [markdown]
# ## Early stopping
#
# The simplest regularizer: stop when the validation loss has not improved for some epochs (the *patience*), and return to the
# best weights. The second half matters. `plan.finish()` restores them on every exit, also when training ends before patience
# runs out.

# %%
stopped, short = fit(wf.Recipe(wf.EarlyStopping(patience=30)), mlp, train, validation, epochs=250)
with torch.no_grad():
    restored = cross_entropy(stopped(validation[0]), validation[1]).item()
fig, ax = plt.subplots(figsize=(6, 3.2))
curves(ax, short, f"Stopped after {len(short)} of 250 epochs")
ax.plot(short[:, 1].argmin() + 1, restored, "o", color=BLACK, zorder=3)
ax.annotate("weights restored from here", (short[:, 1].argmin() + 1, restored), xytext=(8, -16), textcoords="offset points")
ax.legend(loc="upper right")
assert abs(restored - short[:, 1].min()) < 1e-6
print(f"validation loss: {short[-1, 1]:.3f} at the last epoch, {restored:.3f} restored, {history[-1, 1]:.3f} after all 250 epochs")
print(f"test accuracy:   {accuracy(overfitted, test):.3f} without, {accuracy(stopped, test):.3f} with early stopping")

# %% [markdown]
# ## Data augmentation: images
#
# A flipped or slightly turned flower is still a flower. Augmentation shows the network a new variant of every image in every
# epoch. It acts on training batches only: `plan.batch` leaves them alone in evaluation mode.

# %%
flower = load_sample_image("flower.jpg")[20:404:4, 190:574:4]  # 96 x 96 pixels
image = torch.tensor(flower / 255, dtype=torch.float32).permute(2, 0, 1)


def variants(part, count=5):
    """What a regularizer makes of copies of the image."""
    plan = wf.Recipe(part).compile(nn.Conv2d(3, 2, 1), seed=5)
    return plan.batch(image.expand(count, -1, -1, -1), torch.zeros(count, dtype=torch.long))[0]


shown = [wf.RandomCrop(14), wf.Rotation(30.0), wf.HorizontalFlip(0.5), wf.RandomScale(1.5),
         wf.ColorJitter(0.4, 0.4, 0.4, 0.06), wf.Erasing(1.0, share=0.25)]
fig, axes = plt.subplots(len(shown), 6, figsize=(8, 8.6))
for row, part in zip(axes, shown, strict=True):
    for ax, picture in zip(row, [image, *variants(part)], strict=True):
        ax.imshow(picture.permute(1, 2, 0).clamp(0, 1))
        ax.set_axis_off()
    row[1].set_title(f"{type(part).__name__}", loc="left")
axes[0, 0].set_title("original", loc="left")

# %% [markdown]
# Does it help? 100 of the handwritten digits that come with scikit-learn (8×8 pixels), and a small convolutional network. Shifts
# by a pixel help it. Flips hurt: a mirrored digit is not a digit. What may be changed depends on what the classes mean.

# %%
digits = load_digits()
pixels, labels = torch.tensor(digits.images / 16, dtype=torch.float32), torch.tensor(digits.target)
order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
few, rest = order[:200], order[200:]


def conv_net():
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(),
                         nn.Flatten(), nn.Linear(256, 10))


as_images = (pixels[few[:100]][:, None], labels[few[:100]]), (pixels[rest][:, None], labels[rest])
results = {name: several(recipe, conv_net, *as_images, epochs=80, lr=5e-3) for name, recipe in {
    "none": wf.Recipe(),
    "RandomCrop(1)": wf.Recipe(wf.RandomCrop(1)),
    "HorizontalFlip(0.5)": wf.Recipe(wf.HorizontalFlip(0.5)),
}.items()}


def bars(ax, results, label="test accuracy, %"):
    """Means with their spread over seeds, and the plain network as a line."""
    names = list(results)
    means, spreads = ([results[n][i] for n in names] for i in (0, 1))
    first = means[0]
    ax.errorbar(means, names, xerr=spreads, fmt="o", color=BLUE, ecolor="0.5", capsize=3)
    ax.axvline(first, color="0.7", lw=1, ls="--")
    ax.invert_yaxis()
    ax.set(xlabel=f"{label} (mean and deviation of three seeds)", ylim=(len(names) - 0.5, -0.5))
    ax.grid(axis="x", color="0.92")


fig, ax = plt.subplots(figsize=(7, 2.1))
bars(ax, results)

# %% [markdown]
# ## Data augmentation: sound
#
# The same idea for sound. Background noise, a shift in time and another speed act on the waveform. SpecAugment hides bands and
# stretches of the spectrogram. Here a synthetic sound: a falling tone with overtones, then a rising one.

# %%
from wellfit.population.features import LogMel

rate = 8000
seconds = torch.arange(rate) / rate
first, second = 900 - 500 * seconds, 300 + 700 * seconds
phase = 2 * torch.pi * torch.cumsum(torch.where(seconds < 0.5, first, second), 0) / rate
envelope = (torch.sin(2 * torch.pi * seconds).abs() ** 0.5) * (seconds > 0.06) * (seconds < 0.94)
sound = (envelope * sum(torch.sin(k * phase) / k for k in (1, 2, 3)) * 0.4)[None]
log_mel = LogMel(rate, mels=40, window=0.032, hop=0.008, floor=1e-3)


def heard(*parts):
    """The waveform and the spectrogram that a network would see in training."""
    plan = wf.Recipe(*parts).compile(nn.Linear(2, 2), seed=3)
    waveform = plan.batch(sound, torch.zeros(1, dtype=torch.long))[0] if parts and parts[0].before_features else sound
    plan = wf.Recipe(*parts).compile(nn.Linear(2, 2), seed=3, features=log_mel)
    return waveform[0], plan.batch(sound, torch.zeros(1, dtype=torch.long))[0][0, 0]


columns = {"original": (), "BackgroundNoise": (wf.BackgroundNoise(1.0, snr=3.0, span=1.0),), "TimeShift": (wf.TimeShift(0.3),),
           "SpeedChange": (wf.SpeedChange(0.4, interpolation="sinc"),), "SpecAugment": (wf.SpecAugment(0.25, 0.25),)}
fig, axes = plt.subplots(2, 5, figsize=(12, 3.8), sharey="row", height_ratios=(1, 2))
for (name, parts), (top, bottom) in zip(columns.items(), axes.T, strict=True):
    waveform, spectrogram = heard(*parts)
    top.plot(np.arange(len(waveform)) / rate, waveform, lw=0.4, color=BLUE)
    top.set(title=name, ylim=(-1.2, 1.2), xticks=[])
    bottom.imshow(spectrogram, origin="lower", aspect="auto", cmap="cividis", extent=(0, 1, 0, 40))
    bottom.set_xlabel("seconds")
axes[0, 0].set_ylabel("waveform")
axes[1, 0].set_ylabel("mel band")

# %% [markdown]
# ## Noise on inputs, weights and targets
#
# Noise is a regularizer wherever it enters. On inputs it asks that near points get the same answer, on weights it looks for
# valleys that are wide, on targets it forbids being too certain: label smoothing is that noise without the chance in it, and mixup
# blends pairs of examples and their targets. To make it harder, a fifth of the 200 training digits have a wrong label here.

# %%
def digit_net():
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))


as_rows = (pixels[few].flatten(1), labels[few]), (pixels[rest].flatten(1), labels[rest])
generator = torch.Generator().manual_seed(3)
changed = torch.randperm(200, generator=generator)[:40]
wrong = labels[few].clone()
wrong[changed] = (wrong[changed] + torch.randint(1, 10, (40,), generator=generator)) % 10
results = {name: several(wf.Recipe(*parts), digit_net, (as_rows[0][0], wrong), as_rows[1], epochs=30) for name, parts in {
    "none": (),
    "InputNoise(0.3)": (wf.InputNoise(0.3),),
    "WeightNoise(0.05)": (wf.WeightNoise(0.05),),
    "LabelSmoothing(0.3)": (wf.LabelSmoothing(0.3),),
    "Mixup(1.0)": (wf.Mixup(1.0),),
    "InputNoise and Mixup": (wf.InputNoise(0.3), wf.Mixup(1.0)),
}.items()}
fig, ax = plt.subplots(figsize=(7, 2.8))
bars(ax, results)
ax.set_title("One label in five is wrong")

# %% [markdown]
# ## Batch norm
#
# Batch norm standardizes what every layer hands on, with the mean and spread of the batch. It is first of all a help to training:
# it stands much larger learning rates, and each batch's mean and spread bring a little noise with them. Six layers, learning rate
# 0.03.

# %%
def deep():
    layers = [nn.Linear(64, 64), nn.ReLU()]
    for _ in range(4):
        layers += [nn.Linear(64, 64), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(64, 10))


fig, axes = plt.subplots(1, 2, figsize=(10, 3), sharey=True)
for ax, recipe, name in zip(axes, (wf.Recipe(), wf.Recipe(wf.BatchNorm())), ("none", "BatchNorm()"), strict=True):
    mean, spread, log = several(recipe, deep, *as_rows, epochs=30, lr=0.03)
    curves(ax, log, f"{name}: {mean:.1f}% ± {spread:.1f} right")
axes[0].set_ylim(0, 2.5)
axes[1].legend()

# %% [markdown]
# ## Max-norm
#
# Max-norm sets a limit instead of a pull: after each step the incoming weights of every unit are projected back into a ball. Units
# inside the ball are left alone, and with large learning rates nothing can explode. It often goes with dropout.

# %%
def norms(recipe):
    model, _ = fit(recipe, digit_net, *as_rows, epochs=40, lr=1e-2)
    return model[2].weight.detach().norm(dim=1).numpy(), accuracy(model, as_rows[1])


free, limited = norms(wf.Recipe(wf.Dropout(0.4))), norms(wf.Recipe(wf.Dropout(0.4), wf.MaxNorm(1.5)))
fig, ax = plt.subplots(figsize=(6.4, 2.8))
edges = np.linspace(0, max(free[0].max(), 1.6), 41)
ax.hist(free[0], edges, color=ORANGE, alpha=0.8, label=f"Dropout: {100 * free[1]:.1f}% right")
ax.hist(limited[0], edges, histtype="step", lw=2, color=BLUE, label=f"Dropout and MaxNorm(1.5): {100 * limited[1]:.1f}% right")
ax.axvline(1.5, color=BLACK, lw=1, ls="--")
ax.set(xlabel="norm of a hidden unit's incoming weights", ylabel="units")
ax.legend(fontsize=9)
print(f"largest norm with the limit 1.5: {limited[0].max():.6f}")

# %% [markdown]
# ## Decision boundaries
#
# Back to the half-moons. Every regularizer makes the boundary between the classes smoother, each in its own way, and takes away
# the islands around single points. Filled: the probability that the network gives to the second class.

# %%
recipes = {
    "none": wf.Recipe(),
    "WeightDecay(timescale=60)": wf.Recipe(wf.WeightDecay(timescale=60.0)),
    "L1(0.002)": wf.Recipe(wf.L1(2e-3)),
    "Dropout(0.5)": wf.Recipe(wf.Dropout(0.5)),
    "InputNoise(0.3)": wf.Recipe(wf.InputNoise(0.3)),
    "all of them, weaker": wf.Recipe(wf.WeightDecay(timescale=200.0), wf.L1(3e-4), wf.Dropout(0.2), wf.InputNoise(0.2)),
}
models = {name: fit(recipe, mlp, train, validation, epochs=250)[0] for name, recipe in recipes.items()}
left, low = train[0].min(0).values.numpy() - 0.5
right, high = train[0].max(0).values.numpy() + 0.5
gx, gy = np.meshgrid(np.linspace(left, right, 160), np.linspace(low, high, 120))
points = torch.tensor(np.stack([gx.ravel(), gy.ravel()], 1), dtype=torch.float32)
fig, axes = plt.subplots(2, 3, figsize=(10.5, 6), sharex=True, sharey=True)
for ax, (name, model) in zip(axes.flat, models.items(), strict=True):
    with torch.no_grad():
        p = model(points).softmax(1)[:, 1].reshape(gx.shape)
    surface = ax.contourf(gx, gy, p, levels=np.linspace(0, 1, 11), cmap="PuOr", alpha=0.75)
    ax.contour(gx, gy, p, levels=[0.5], colors="black", linewidths=1.5)
    for c, mark, face in ((0, "o", "#B35806"), (1, "s", "#542788")):
        chosen = train[0][train[1] == c]
        ax.scatter(chosen[:, 0], chosen[:, 1], s=18, marker=mark, color=face, edgecolor="white", linewidth=0.5)
    ax.set_title(f"{name}\n{100 * accuracy(model, test):.1f}% right on test points")
fig.colorbar(surface, ax=axes, label="probability of the second class", shrink=0.8)
for ax in axes[:, 0]:
    ax.set_ylabel("feature 2")
for ax in axes[1]:
    ax.set_xlabel("feature 1")

# %% [markdown]
# ## Loss landscapes
#
# The same two networks seen from the weights: the training loss around the trained weights, along two random directions. Each
# direction is scaled to the norms of the network's own units, so that networks of different size can be compared. Regularized
# weights lie in a wide and flat valley, where a small change of the weights costs little.

# %%
@torch.no_grad()
def landscape(model, data, reach=1.0, cells=21):
    """(cells, cells) clean losses on a plane through the weights."""
    generator = torch.Generator().manual_seed(4)
    home = [p.clone() for p in model.parameters()]
    ways = []
    for _ in range(2):
        way = [torch.randn(p.shape, generator=generator) for p in home]
        ways.append([w * p.norm(dim=-1, keepdim=True) / w.norm(dim=-1, keepdim=True) for w, p in zip(way, home, strict=True)])
    steps = torch.linspace(-reach, reach, cells)
    losses = np.empty((cells, cells))
    for i, a in enumerate(steps):
        for j, b in enumerate(steps):
            for p, h, u, v in zip(model.parameters(), home, *ways, strict=True):
                p.copy_(h + b * u + a * v)
            losses[i, j] = cross_entropy(model(data[0]), data[1])
    for p, h in zip(model.parameters(), home, strict=True):
        p.copy_(h)
    return steps.numpy(), losses


fig, axes = plt.subplots(1, 2, figsize=(9.5, 3.9), sharey=True)
levels = [0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 8, 12]
for ax, name in zip(axes, ("none", "all of them, weaker"), strict=True):
    steps, losses = landscape(models[name], train)
    shape = ax.contourf(steps, steps, losses, levels=levels, cmap="cividis", norm="log", extend="both")
    lines = ax.contour(steps, steps, losses, levels=[0.5, 1, 2, 5], colors="white", linewidths=0.8)
    ax.clabel(lines, fontsize=8)
    ax.plot(0, 0, "+", color="white", ms=10)
    ax.set(title=name, xlabel="first direction", aspect="equal")
    centre = losses[10, 10]
    print(f"{name:20} loss {centre:.2f} at the weights, {np.mean(losses[5:16, 5:16]) - centre:.2f} more in the mean around them")
axes[0].set_ylabel("second direction")
fig.colorbar(shape, ax=axes, label="training loss", ticks=[0.1, 0.3, 1, 3, 10], format="%g")

# %% [markdown]
# ## How strong?
#
# Every method has a strength, and the curve over it always has the shape of the bias and variance picture: too little does
# nothing, too much stops the learning. Strengths are searched on a logarithmic scale, judged on validation data with several
# seeds, and where several are equally good within the noise the strongest (simplest) of them is a sound choice.

# %%
strengths = np.logspace(-5, -1, 9)[1:]
losses = np.array([[fit(wf.Recipe(wf.L2(s)), mlp, train, validation, epochs=80, seed=seed)[1][-1] for seed in range(3)]
                   for s in strengths])  # (strength, seed, part)
fig, ax = plt.subplots(figsize=(6.4, 3.2))
for part, name, colour, style in ((0, "training", BLUE, "-"), (1, "validation", RED, "--")):
    mean, spread = losses[..., part].mean(1), losses[..., part].std(1, ddof=1) / np.sqrt(3)
    ax.semilogx(strengths, mean, color=colour, ls=style, marker="o", ms=4, label=name)
    ax.fill_between(strengths, mean - spread, mean + spread, color=colour, alpha=0.2, lw=0)
mean, error = losses[..., 1].mean(1), losses[..., 1].std(1, ddof=1) / np.sqrt(3)
chosen = strengths[mean <= mean.min() + error[mean.argmin()]].max()
ax.axvline(chosen, color="0.5", lw=1)
ax.annotate("strongest within one\nstandard error", (chosen, ax.get_ylim()[1]), xytext=(-6, -4), textcoords="offset points",
            va="top", ha="right", color="0.35")
ax.set(xlabel="strength of L2", ylabel="clean cross-entropy", ylim=(0, None))
ax.legend(loc=(0.05, 0.32))
print(f"lowest validation loss at λ = {strengths[mean.argmin()]:.0e}, strongest within one standard error: {chosen:.0e}")

# %% [markdown]
# ## Which ones, and how strong: `wf.tune`
#
# Methods interact: with dropout the best decay is another one than without. `wf.tune` searches methods, strengths and the
# learning rate together, within a time that you choose. Every configuration is compared on the same folds, the finalists are
# trained again with other seeds, and rows that no choice has seen give the final numbers with their 95% intervals.

# %%
frame = load_diabetes(as_frame=True).frame
folder = tempfile.TemporaryDirectory()
result = wf.tune(frame, target="target", budget="30s", out=folder.name + "/run", progress=False)
print(result)
print(result.recipe)

# %% [markdown]
# What single methods bought in this run, each at its best strength, and the chosen combination. RMSE on the test rows: lower is
# better. With so few test rows the intervals are wide. But all configurations are judged on the same patients, so that their
# differences are surer than the intervals suggest; the line below gives that of the chosen recipe.

# %%
summary = result.summary
judged = {name: row for name, row in summary["singles"].items() if row["test"] is not None}  # as many as there was time for
rows = {"no regularization": summary["unregularized"], **dict(sorted(judged.items(), key=lambda r: -r[1]["test"])),
        "chosen recipe": summary["best"]}
fig, ax = plt.subplots(figsize=(7, 0.32 * len(rows) + 0.8))
for place, (name, row) in enumerate(rows.items()):
    colour = {"no regularization": RED, "chosen recipe": GREEN}.get(name, BLUE)
    ax.plot(row["ci"], [place, place], color=colour, lw=2, alpha=0.5)
    ax.plot(row["test"], place, "o", color=colour)
ax.set_yticks(range(len(rows)), list(rows))
ax.invert_yaxis()
ax.axvline(summary["unregularized"]["test"], color="0.7", lw=1, ls="--")
ax.set(xlabel="RMSE on test rows, with 95% interval")
ax.grid(axis="x", color="0.92")
gain = summary["gain"]
print(f"gain: {gain['test']:.1f} (95% interval {gain['ci'][0]:.1f} to {gain['ci'][1]:.1f})")

# %% [markdown]
# ## Combining
#
# The parts of a good recipe do different work: one limits the weights, one the units' cooperation, one adds data, one ends the
# training. What each part of the found recipe is worth is measured by leaving it out (and the learning rate by going back to the
# usual one), with the same rows and seeds. Parts that buy nothing are named and can go.

# %%
for row in summary["attribution"]:
    low, high = row["ci"]
    print(f"{row['regularizer']:20} {row['effect']:+.2f} ({low:+.2f} to {high:+.2f})  {'keep' if row['keep'] else 'not needed'}")

# %% [markdown]
# Which to try first, if you tune by hand:
#
# | data | first | then |
# |---|---|---|
# | tables | weight decay, dropout, early stopping | L1 or group lasso on the inputs, label smoothing, averaging (EMA) |
# | images | flips and crops that keep the class, batch norm, weight decay | mixup or CutMix, TrivialAugment, label smoothing |
# | sound | time shift, background noise, SpecAugment, batch norm | speed change, mixup |
# | sequences | dropout, weight decay | token dropout, gradient clipping, averaging |
#
# The recipe is plain text. `result.recipe.save("recipe.yaml")` keeps it, and `wf.Recipe.load("recipe.yaml").compile(model)`
# brings it into any training loop, as in `fit` above.

# %%
print(result.recipe.to_yaml())
folder.cleanup()
